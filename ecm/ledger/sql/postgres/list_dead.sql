SELECT t.task_id, t.asset_id, t.attempt, j.tenant_id, j.job_id, r.uri, s.task_type, s.transform,
    e.error_class, e.code, e.stage, e.message, e.at
FROM tasks AS t
JOIN task_events AS e ON e.event_id = t.last_event
JOIN resources AS r ON r.resource_id = t.resource_id
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.blocked = 'dead_letter'
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s)
    AND (%(error_class)s::text IS NULL OR e.error_class = %(error_class)s)
    AND (%(code)s::text IS NULL OR e.code = %(code)s)
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
ORDER BY e.event_id DESC
LIMIT %(limit)s;
