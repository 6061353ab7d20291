SELECT *
FROM jobs
WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s
ORDER BY job_seq DESC
LIMIT %(limit)s;
