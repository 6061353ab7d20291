-- The jobs that own these tasks have work before them again. Touches those that are not finished
-- as well: one that is being finished at this moment is waited for and opened again.
UPDATE jobs
SET state = CASE state WHEN 'finished' THEN 'listed' ELSE state END,
    finished_at = CASE state WHEN 'finished' THEN NULL ELSE finished_at END
WHERE job_seq = ANY (ARRAY(
    SELECT DISTINCT s.job_seq
    FROM tasks AS t
    JOIN streams AS s USING (stream_id)
    WHERE t.seq = ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text(%(seqs)s::json)))
));
