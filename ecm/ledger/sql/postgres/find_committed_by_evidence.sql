-- Committed tasks of a tenant by what they said, linked ones as well. Walks every batch.
SELECT t.seq
FROM batches AS b
JOIN tasks AS t ON t.batch_seq = b.batch_seq
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.state IN ('persisted', 'done')
    AND t.evidence_key IN (SELECT json_array_elements_text(%(evidence_keys)s::json))
    AND j.tenant_id = %(tenant_id)s;
