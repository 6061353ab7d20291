SELECT t.task_id, t.asset_id, t.attempt, j.tenant_id, j.job_id, r.uri, s.task_type, s.transform,
    e.error_class, e.code, e.stage, e.message, e.at
FROM tasks AS t INDEXED BY tasks_blocked
JOIN task_events AS e ON e.event_id = t.last_event
JOIN resources AS r ON r.resource_id = t.resource_id
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.state IN ('dead_letter', 'model_mismatch', 'cancelled') AND t.state = 'dead_letter'
    AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id)
    AND (:error_class IS NULL OR e.error_class = :error_class)
    AND (:code IS NULL OR e.code = :code)
    AND (:text IS NULL
        OR instr(lower(r.uri), lower(:text)) > 0
        OR instr(lower(e.message), lower(:text)) > 0
        OR instr(lower(e.cause), lower(:text)) > 0)
    AND (:job_seq IS NULL OR (
        t.stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
        AND EXISTS (
            SELECT 1
            FROM job_resources AS jr
            WHERE jr.job_seq = :job_seq AND jr.resource_id = t.resource_id
        )
    ))
ORDER BY e.event_id DESC
LIMIT :limit;
