INSERT INTO job_resources (job_seq, resource_id)
SELECT job_seq, resource_id
FROM json_to_recordset(%(rows)s::json) AS r (job_seq BIGINT, resource_id BIGINT);
