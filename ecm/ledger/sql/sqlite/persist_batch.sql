UPDATE batches
SET state = 'persisted', persisted_at = :now, versions = :versions, persisted_as = :persisted_as
WHERE batch_seq = :batch_seq AND state = 'reported';
