SELECT s.stream_id, j.tenant_id
FROM streams AS s
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE s.stream_id = ANY (ARRAY(
    SELECT value::bigint FROM json_array_elements_text(%(stream_ids)s::json)
));
