-- The limit counts rows as they are once they are locked, so that fewer means that none is left.
SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM (
    SELECT q.seq
    FROM streams AS s
    JOIN tasks AS q ON q.stream_id = s.stream_id AND q.runnable
    WHERE s.transform = %(transform)s
    UNION ALL
    SELECT q.seq
    FROM leases AS l
    JOIN tasks AS q ON q.lease_seq = l.lease_seq
    JOIN streams AS s ON s.stream_id = q.stream_id
    WHERE s.transform = %(transform)s AND q.state = 'leased'
) AS c
JOIN tasks AS t ON t.seq = c.seq
WHERE t.state IN ('queued', 'retry_queued', 'leased')
LIMIT %(limit)s
FOR NO KEY UPDATE OF t;
