-- The jobs that own these tasks have work before them again.
UPDATE jobs
SET state = 'listed', finished_at = NULL
WHERE state = 'finished' AND job_seq IN (
    SELECT s.job_seq
    FROM tasks AS t
    JOIN streams AS s USING (stream_id)
    WHERE t.seq IN (SELECT value FROM json_each(:seqs))
);
