INSERT INTO job_streams (job_seq, stream_id)
SELECT job_seq, stream_id
FROM json_to_recordset(%(rows)s::json) AS r (job_seq BIGINT, stream_id BIGINT)
ON CONFLICT DO NOTHING;
