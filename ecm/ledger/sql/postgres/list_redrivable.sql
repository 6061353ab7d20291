SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
JOIN resources AS r ON r.resource_id = t.resource_id
LEFT JOIN task_events AS e ON e.event_id = t.last_event
WHERE t.blocked IN ('dead_letter', 'model_mismatch')
    AND (e.at IS NULL OR e.at <= %(now)s)
    AND (%(state)s::text IS NULL OR t.blocked = %(state)s)
    AND (%(error_class)s::text IS NULL OR e.error_class = %(error_class)s)
    AND (%(code)s::text IS NULL OR e.code = %(code)s)
    AND (%(transform)s::text IS NULL OR s.transform = %(transform)s)
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s)
    AND (%(text)s::text IS NULL
        OR strpos(lower(r.uri), lower(%(text)s)) > 0
        OR strpos(lower(e.message), lower(%(text)s)) > 0
        OR strpos(lower(e.cause), lower(%(text)s)) > 0)
    AND (%(job_seq)s::bigint IS NULL OR (
        t.stream_id IN (
            SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
        )
        AND (
            SELECT jr.job_seq
            FROM job_resources AS jr
            WHERE jr.job_seq = %(job_seq)s AND jr.resource_id = t.resource_id
        ) IS NOT NULL
    ))
    AND (%(task_ids)s::json IS NULL OR t.seq = ANY (ARRAY(
        SELECT i.seq
        FROM task_ids AS i
        WHERE i.task_id = ANY (ARRAY(SELECT json_array_elements_text(%(task_ids)s::json)))
    )))
ORDER BY t.seq
LIMIT %(limit)s
FOR NO KEY UPDATE OF t;
