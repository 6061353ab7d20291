SELECT stream_id
FROM streams
WHERE job_seq = %(job_seq)s AND task_type = %(task_type)s AND transform = %(transform)s
    AND md5(model_spec) = md5(%(model_spec)s) AND md5(retry_policy) = md5(%(retry_policy)s)
    AND model_spec = %(model_spec)s AND retry_policy = %(retry_policy)s;
