-- Tasks that another unfinished job wants as well are left alone.
SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM job_resources AS jr
CROSS JOIN tasks AS t ON t.resource_id = jr.resource_id
WHERE jr.job_seq = :job_seq AND jr.resource_id > :after AND jr.resource_id <= :upto
    AND t.stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
    AND t.state IN ('queued', 'retry_queued', 'leased', 'running', 'model_mismatch')
    AND NOT EXISTS (
        SELECT 1
        FROM jobs AS o
        CROSS JOIN job_resources AS x ON x.job_seq = o.job_seq AND x.resource_id = t.resource_id
        CROSS JOIN job_streams AS y ON y.job_seq = o.job_seq AND y.stream_id = t.stream_id
        WHERE o.state IN ('listing', 'listed') AND o.job_seq <> :job_seq
    );
