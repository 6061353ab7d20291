-- One slice of a job's resources at a time, so that no transaction is long.
UPDATE tasks
SET state = 'done', done_at = :now
WHERE state = 'persisted'
    AND stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
    AND resource_id IN (
        SELECT resource_id
        FROM job_resources
        WHERE job_seq = :job_seq AND resource_id > :after AND resource_id <= :upto
    );
