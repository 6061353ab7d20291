SELECT min(t.leased_at) AS leased_at
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.lease_seq IS NOT NULL
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s);
