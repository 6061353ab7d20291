SELECT e.error_class, count(*) AS tasks
FROM tasks AS t
JOIN task_events AS e ON e.event_id = t.last_event
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.blocked = 'dead_letter'
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s)
GROUP BY e.error_class;
