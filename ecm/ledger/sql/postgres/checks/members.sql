SELECT format('job %s lists resource %s, which is not there', jr.job_seq, jr.resource_id) AS found
FROM job_resources AS jr
LEFT JOIN jobs AS j ON j.job_seq = jr.job_seq
LEFT JOIN resources AS r ON r.resource_id = jr.resource_id
WHERE j.job_seq IS NULL OR r.resource_id IS NULL
LIMIT 1;
