-- Everything that is not committed, each part from the small index that holds just that part.
WITH counted (state, stream_id, priority, tasks) AS (
    SELECT state, stream_id, priority, count(*)
    FROM tasks
    WHERE runnable
    GROUP BY stream_id, priority, state
    UNION ALL
    SELECT state, stream_id, priority, count(*)
    FROM tasks
    WHERE lease_seq IS NOT NULL
    GROUP BY stream_id, priority, state
    UNION ALL
    SELECT t.state, t.stream_id, t.priority, count(*)
    FROM batches AS b
    JOIN tasks AS t ON t.batch_seq = b.batch_seq
    WHERE b.state = 'reported'
    GROUP BY t.stream_id, t.priority, t.state
    UNION ALL
    SELECT blocked, stream_id, priority, count(*)
    FROM tasks
    WHERE blocked IS NOT NULL
    GROUP BY blocked, stream_id, priority
)
SELECT c.state, j.tenant_id, c.priority, sum(c.tasks)::bigint AS tasks
FROM counted AS c
JOIN streams AS s ON s.stream_id = c.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE %(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s
GROUP BY c.state, j.tenant_id, c.priority
ORDER BY c.state, j.tenant_id, c.priority DESC;
