SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM tasks AS t INDEXED BY tasks_blocked
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
JOIN resources AS r ON r.resource_id = t.resource_id
LEFT JOIN task_events AS e ON e.event_id = t.last_event
WHERE t.state IN ('dead_letter', 'model_mismatch', 'cancelled') AND t.state <> 'cancelled'
    AND (e.at IS NULL OR e.at <= :now)
    AND (:state IS NULL OR t.state = :state)
    AND (:error_class IS NULL OR e.error_class = :error_class)
    AND (:code IS NULL OR e.code = :code)
    AND (:transform IS NULL OR s.transform = :transform)
    AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id)
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
    AND (:task_ids IS NULL OR t.task_id IN (SELECT value FROM json_each(:task_ids)))
LIMIT :limit;
