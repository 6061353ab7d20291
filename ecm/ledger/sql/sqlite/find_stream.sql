SELECT stream_id
FROM streams
WHERE job_seq = :job_seq AND task_type = :task_type AND transform = :transform
    AND model_spec = :model_spec AND retry_policy = :retry_policy;
