UPDATE tasks
SET state = 'running', started_at = :now
WHERE lease_seq = :lease_seq AND state = 'leased';
