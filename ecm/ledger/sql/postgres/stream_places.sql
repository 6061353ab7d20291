-- Where the evidence of a job's committed tasks was seen, for some evidence keys.
SELECT t.evidence_key, t.task_id, r.uri, s.task_type
FROM job_resources AS jr
JOIN tasks AS t ON t.resource_id = jr.resource_id
JOIN resources AS r ON r.resource_id = t.resource_id
JOIN streams AS s ON s.stream_id = t.stream_id
WHERE jr.job_seq = %(job_seq)s
    AND t.stream_id IN (
        SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
    )
    AND t.state IN ('persisted', 'done')
    AND t.evidence_key = ANY (ARRAY(SELECT json_array_elements_text(%(keys)s::json)))
ORDER BY jr.resource_id, t.seq;
