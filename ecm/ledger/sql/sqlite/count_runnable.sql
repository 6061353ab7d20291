-- Counts no further than :limit, so that a deep queue does not slow the listing down. Of one
-- tenant, or of all.
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
SELECT count(*) AS tasks
FROM (
    SELECT 1
    FROM busy
    JOIN streams AS s ON s.stream_id = busy.stream_id
    JOIN jobs AS j ON j.job_seq = s.job_seq
    CROSS JOIN tasks AS t INDEXED BY tasks_runnable
        ON t.stream_id = busy.stream_id AND t.state IN ('queued', 'retry_queued')
    WHERE :tenant_id IS NULL OR j.tenant_id = :tenant_id
    LIMIT :limit
);
