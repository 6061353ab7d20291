-- Tasks that another unfinished job wants as well are left alone.
SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM tasks AS t
WHERE t.resource_id = ANY (ARRAY(
        SELECT jr.resource_id
        FROM job_resources AS jr
        WHERE jr.job_seq = %(job_seq)s
            AND jr.resource_id > %(after)s AND jr.resource_id <= %(upto)s::bigint
    ))
    AND t.stream_id = ANY (ARRAY(
        SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
    ))
    AND t.state IN ('queued', 'retry_queued', 'leased', 'running', 'model_mismatch')
    AND (
        SELECT o.job_seq
        FROM jobs AS o
        JOIN job_resources AS x ON x.job_seq = o.job_seq AND x.resource_id = t.resource_id
        JOIN job_streams AS y ON y.job_seq = o.job_seq AND y.stream_id = t.stream_id
        WHERE o.state IN ('listing', 'listed') AND o.job_seq <> %(job_seq)s
        LIMIT 1
    ) IS NULL
ORDER BY t.seq
FOR NO KEY UPDATE OF t;
