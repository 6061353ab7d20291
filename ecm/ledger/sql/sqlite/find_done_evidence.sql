SELECT DISTINCT t.evidence_key
FROM tasks AS t
WHERE t.evidence_key IN (SELECT value FROM json_each(:keys))
    AND t.persisted_at IS NOT NULL AND t.linked = 0
    AND (:tenant_id IS NULL OR EXISTS (
        SELECT 1
        FROM streams AS s
        JOIN jobs AS j ON j.job_seq = s.job_seq
        WHERE s.stream_id = t.stream_id AND j.tenant_id = :tenant_id
    ));
