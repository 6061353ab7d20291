SELECT t.task_id, t.resource_id, t.stream_id, t.priority, t.deadline_at, t.turn, t.attempt,
    r.identity_key, r.uri, r.size, r.mtime_ns, r.etag,
    s.task_type, s.transform, s.model_spec, j.job_id, j.tenant_id
FROM tasks AS t
JOIN resources AS r ON r.resource_id = t.resource_id
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.lease_seq = %(lease_seq)s AND t.fence = %(fence)s
ORDER BY t.priority DESC, t.deadline_at, t.turn, t.seq;
