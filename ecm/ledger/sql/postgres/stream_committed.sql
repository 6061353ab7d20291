-- Every committed task, of one tenant or of all, with what it said about which resource.
SELECT j.tenant_id, t.task_id, s.task_type, s.transform, t.asset_id, t.evidence_key,
    t.persisted_at, r.uri, r.size, r.mtime_ns, r.etag
FROM batches AS b
JOIN tasks AS t ON t.batch_seq = b.batch_seq
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
JOIN resources AS r ON r.resource_id = t.resource_id
WHERE t.state IN ('persisted', 'done')
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s);
