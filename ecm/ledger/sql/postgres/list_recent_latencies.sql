SELECT t.persisted_at - t.leased_at AS seconds
FROM (
    SELECT batch_seq
    FROM batches
    WHERE persisted_at > %(since)s
    ORDER BY persisted_at DESC
    LIMIT %(batches)s
) AS b
JOIN tasks AS t ON t.batch_seq = b.batch_seq
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE %(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s
ORDER BY seconds;
