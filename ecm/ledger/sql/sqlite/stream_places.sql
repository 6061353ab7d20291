-- Where the evidence of a job's committed tasks was seen, for some evidence keys.
SELECT t.evidence_key, t.task_id, r.uri, s.task_type
FROM job_resources AS jr
CROSS JOIN tasks AS t ON t.resource_id = jr.resource_id
CROSS JOIN resources AS r ON r.resource_id = t.resource_id
CROSS JOIN streams AS s ON s.stream_id = t.stream_id
WHERE jr.job_seq = :job_seq
    AND t.stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
    AND t.state IN ('persisted', 'done')
    AND t.evidence_key IN (SELECT value FROM json_each(:keys))
ORDER BY jr.resource_id, t.seq;
