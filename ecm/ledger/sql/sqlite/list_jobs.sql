SELECT *
FROM jobs
WHERE :tenant_id IS NULL OR tenant_id = :tenant_id
ORDER BY job_seq DESC
LIMIT :limit;
