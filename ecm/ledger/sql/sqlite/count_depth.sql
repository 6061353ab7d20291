-- Everything that is not committed, each part from the small index that holds just that part.
WITH counted (state, stream_id, priority, tasks) AS (
    SELECT state, stream_id, priority, count(*)
    FROM tasks INDEXED BY tasks_runnable
    WHERE state IN ('queued', 'retry_queued')
    GROUP BY stream_id, priority, state
    UNION ALL
    SELECT state, stream_id, priority, count(*)
    FROM tasks INDEXED BY tasks_by_lease
    WHERE lease_seq IS NOT NULL
    GROUP BY stream_id, priority, state
    UNION ALL
    SELECT t.state, t.stream_id, t.priority, count(*)
    FROM batches AS b
    CROSS JOIN tasks AS t ON t.batch_seq = b.batch_seq
    WHERE b.state = 'reported'
    GROUP BY t.stream_id, t.priority, t.state
    UNION ALL
    SELECT state, stream_id, priority, count(*)
    FROM tasks INDEXED BY tasks_blocked
    WHERE state IN ('dead_letter', 'model_mismatch', 'cancelled')
    GROUP BY state, stream_id, priority
)
SELECT c.state, j.tenant_id, c.priority, sum(c.tasks) AS tasks
FROM counted AS c
CROSS JOIN streams AS s ON s.stream_id = c.stream_id
CROSS JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE :tenant_id IS NULL OR j.tenant_id = :tenant_id
GROUP BY c.state, j.tenant_id, c.priority
ORDER BY c.state, j.tenant_id, c.priority DESC;
