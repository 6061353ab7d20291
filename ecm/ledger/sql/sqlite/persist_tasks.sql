UPDATE tasks
SET state = 'persisted', persisted_at = :now
WHERE batch_seq = :batch_seq AND state = 'reported';
