SELECT t.*, r.uri, s.task_type, s.transform, s.model_spec, j.job_id, j.tenant_id
FROM tasks AS t
JOIN resources AS r ON r.resource_id = t.resource_id
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.seq = (SELECT i.seq FROM task_ids AS i WHERE i.task_id = %(task_id)s);
