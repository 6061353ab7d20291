-- Whether a tenant has anything waiting at a priority.
WITH RECURSIVE
busy (stream_id) AS (
    SELECT min(stream_id) FROM tasks WHERE state IN ('queued', 'retry_queued')
    UNION ALL
    SELECT (
        SELECT min(t.stream_id)
        FROM tasks AS t
        WHERE t.state IN ('queued', 'retry_queued') AND t.stream_id > busy.stream_id
    )
    FROM busy
    WHERE busy.stream_id IS NOT NULL
)
SELECT 1 AS waits
FROM busy
CROSS JOIN streams AS s ON s.stream_id = busy.stream_id
CROSS JOIN jobs AS j ON j.job_seq = s.job_seq
CROSS JOIN tasks AS t INDEXED BY tasks_runnable
    ON t.stream_id = busy.stream_id AND t.state IN ('queued', 'retry_queued')
WHERE j.tenant_id = :tenant_id AND t.priority = :priority
LIMIT 1;
