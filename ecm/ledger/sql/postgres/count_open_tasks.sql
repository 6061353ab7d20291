SELECT count(*) AS tasks
FROM job_resources AS jr
JOIN tasks AS t ON t.resource_id = jr.resource_id
WHERE jr.job_seq = %(job_seq)s
    AND t.stream_id IN (
        SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
    )
    AND t.state IN ('queued', 'retry_queued', 'leased', 'running', 'reported', 'model_mismatch');
