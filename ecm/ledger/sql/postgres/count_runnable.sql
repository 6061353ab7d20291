-- Counts no further than `limit`, so that a deep queue does not slow the listing down. Of one
-- tenant, or of all.
WITH RECURSIVE
busy (stream_id) AS (
    (SELECT t.stream_id FROM tasks AS t WHERE t.runnable ORDER BY t.stream_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT t.stream_id
        FROM tasks AS t
        WHERE t.runnable AND t.stream_id > busy.stream_id
        ORDER BY t.stream_id
        LIMIT 1
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
    JOIN tasks AS t ON t.stream_id = busy.stream_id AND t.runnable
    WHERE %(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s
    LIMIT %(limit)s
) AS counted;
