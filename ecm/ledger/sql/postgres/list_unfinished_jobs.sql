SELECT *
FROM jobs
WHERE state IN ('listing', 'listed') AND tenant_id = %(tenant_id)s
ORDER BY job_seq;
