-- All of a job's open books in one pass, ordered by resource.
SELECT jr.resource_id, r.identity_key, t.task_id, t.state, t.evidence_key
FROM job_resources AS jr
CROSS JOIN resources AS r ON r.resource_id = jr.resource_id
CROSS JOIN tasks AS t ON t.resource_id = jr.resource_id
WHERE jr.job_seq = :job_seq
    AND t.stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
ORDER BY jr.resource_id;
