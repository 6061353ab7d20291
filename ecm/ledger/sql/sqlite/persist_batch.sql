UPDATE batches
SET state = 'persisted', persisted_at = :now, versions = :versions
WHERE batch_seq = :batch_seq AND state = 'reported';
