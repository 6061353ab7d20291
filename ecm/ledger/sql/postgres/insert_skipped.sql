INSERT INTO skipped_resources (job_seq, uri, reason)
SELECT job_seq, uri, reason
FROM json_to_recordset(%(rows)s::json) AS r (job_seq BIGINT, uri TEXT, reason TEXT);
