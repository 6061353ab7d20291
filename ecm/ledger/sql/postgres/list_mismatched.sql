-- Twice as many candidates as are wanted: those that somebody takes before they are locked drop out
-- and fewer rows than the limit must mean that none is left.
SELECT seq, task_id, state, attempt, fence, failures, expiries
FROM tasks
WHERE state IN ('queued', 'retry_queued', 'leased') AND seq = ANY (ARRAY(
    SELECT q.seq
    FROM streams AS s
    JOIN jobs AS j ON j.job_seq = s.job_seq
    JOIN tasks AS q ON q.stream_id = s.stream_id AND q.runnable
    WHERE s.transform = %(transform)s
        AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s)
    UNION ALL
    SELECT q.seq
    FROM leases AS l
    JOIN tasks AS q ON q.lease_seq = l.lease_seq
    JOIN streams AS s ON s.stream_id = q.stream_id
    JOIN jobs AS j ON j.job_seq = s.job_seq
    WHERE s.transform = %(transform)s AND q.state = 'leased'
        AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s)
    LIMIT 2 * %(limit)s
))
ORDER BY seq
LIMIT %(limit)s
FOR NO KEY UPDATE;
