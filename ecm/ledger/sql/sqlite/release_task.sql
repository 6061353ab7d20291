-- Given back without costing an attempt. A first attempt goes back to where it came from.
UPDATE tasks
SET state = CASE WHEN attempt = 1 THEN 'queued' ELSE 'retry_queued' END,
    attempt = attempt - 1,
    run_after = :now,
    lease_seq = NULL,
    leased_at = NULL,
    started_at = NULL
WHERE seq = :seq AND fence = :fence AND state IN ('leased', 'running');
