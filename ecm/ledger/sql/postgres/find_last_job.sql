SELECT job_id FROM jobs WHERE tenant_id = %(tenant_id)s ORDER BY job_seq DESC LIMIT 1;
