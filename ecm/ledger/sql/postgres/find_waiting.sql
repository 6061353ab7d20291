-- Whether a tenant has anything waiting at a priority.
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
SELECT 1 AS waits
FROM busy
JOIN streams AS s ON s.stream_id = busy.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE j.tenant_id = %(tenant_id)s
    AND EXISTS (
        SELECT 1
        FROM tasks AS t
        WHERE t.stream_id = busy.stream_id AND t.runnable AND t.priority = %(priority)s
    )
LIMIT 1;
