-- One slice of a job's resources at a time, so that no transaction is long.
UPDATE tasks
SET state = 'done', done_at = %(now)s
WHERE state = 'persisted' AND seq = ANY (ARRAY(
    SELECT t.seq
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
        AND t.state = 'persisted'
    ORDER BY t.seq
    FOR NO KEY UPDATE
));
