-- Given back without costing an attempt. A first attempt goes back to where it came from.
UPDATE tasks AS t
SET state = CASE WHEN t.attempt = 1 THEN 'queued' ELSE 'retry_queued' END,
    attempt = t.attempt - 1,
    run_after = r.now,
    lease_seq = NULL,
    leased_at = NULL,
    started_at = NULL
FROM json_to_recordset(%(rows)s::json) AS r (seq BIGINT, fence BIGINT, now DOUBLE PRECISION)
WHERE t.seq = r.seq AND t.fence = r.fence AND t.state IN ('leased', 'running');
