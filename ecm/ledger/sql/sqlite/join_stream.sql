INSERT INTO job_streams (job_seq, stream_id)
VALUES (:job_seq, :stream_id)
ON CONFLICT DO NOTHING;
