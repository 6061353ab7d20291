SELECT s.stream_id, j.tenant_id
FROM streams AS s
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE s.stream_id IN (SELECT value FROM json_each(:stream_ids));
