-- Where tasks stand and what they ask for: of one tenant, or of all.
SELECT t.task_id, t.state, t.fence, s.task_type, s.transform, j.tenant_id
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.seq = ANY (ARRAY(
    SELECT i.seq
    FROM task_ids AS i
    WHERE i.task_id = ANY (ARRAY(SELECT json_array_elements_text(%(task_ids)s::json)))
))
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s);
