INSERT INTO streams (job_seq, task_type, transform, model_spec, retry_policy)
VALUES (%(job_seq)s, %(task_type)s, %(transform)s, %(model_spec)s, %(retry_policy)s)
ON CONFLICT DO NOTHING;
