-- Tasks that are neither committed nor audited, each state from the small index that holds it.
WITH busy (seq) AS (
    SELECT seq
    FROM tasks
    WHERE runnable AND (%(state)s::text IS NULL OR state = %(state)s)
    UNION ALL
    SELECT seq
    FROM tasks
    WHERE lease_seq IS NOT NULL AND (%(state)s::text IS NULL OR state = %(state)s)
    UNION ALL
    SELECT t.seq
    FROM batches AS b
    JOIN tasks AS t ON t.batch_seq = b.batch_seq
    WHERE b.state = 'reported' AND (%(state)s::text IS NULL OR t.state = %(state)s)
    UNION ALL
    SELECT seq
    FROM tasks
    WHERE blocked IS NOT NULL AND (%(state)s::text IS NULL OR blocked = %(state)s)
)
SELECT t.task_id, t.state, t.attempt, t.priority, t.run_after, j.tenant_id, j.job_id, r.uri,
    s.task_type, s.transform, e.cause
FROM busy
JOIN tasks AS t ON t.seq = busy.seq
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
JOIN resources AS r ON r.resource_id = t.resource_id
LEFT JOIN task_events AS e ON e.event_id = t.last_event
WHERE %(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s
LIMIT %(limit)s;
