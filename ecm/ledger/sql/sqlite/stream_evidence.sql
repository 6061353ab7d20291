SELECT t.evidence_key
FROM job_resources AS jr
CROSS JOIN tasks AS t ON t.resource_id = jr.resource_id
WHERE jr.job_seq = :job_seq
    AND t.stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
    AND t.state IN ('persisted', 'done')
ORDER BY jr.resource_id, t.seq;
