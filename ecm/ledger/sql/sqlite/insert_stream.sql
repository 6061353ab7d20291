INSERT INTO streams (job_seq, task_type, transform, model_spec, retry_policy)
VALUES (:job_seq, :task_type, :transform, :model_spec, :retry_policy)
ON CONFLICT DO NOTHING;
