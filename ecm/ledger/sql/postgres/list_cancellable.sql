-- Tasks that another unfinished job wants as well are left alone.
SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM job_resources AS jr
JOIN tasks AS t ON t.resource_id = jr.resource_id
WHERE jr.job_seq = %(job_seq)s
    AND jr.resource_id > %(after)s AND jr.resource_id <= %(upto)s::bigint
    AND t.stream_id IN (
        SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
    )
    AND t.state IN ('queued', 'retry_queued', 'leased', 'running', 'model_mismatch')
    AND NOT EXISTS (
        SELECT 1
        FROM jobs AS o
        JOIN job_resources AS x ON x.job_seq = o.job_seq AND x.resource_id = t.resource_id
        JOIN job_streams AS y ON y.job_seq = o.job_seq AND y.stream_id = t.stream_id
        WHERE o.state IN ('listing', 'listed') AND o.job_seq <> %(job_seq)s
    )
ORDER BY t.seq
FOR NO KEY UPDATE OF t;
