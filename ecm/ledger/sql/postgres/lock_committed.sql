-- Those of the tasks that are still committed, and whose they are.
SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, j.tenant_id
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.seq = ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text(%(seqs)s::json)))
    AND t.state IN ('persisted', 'done')
ORDER BY t.seq
FOR NO KEY UPDATE OF t;
