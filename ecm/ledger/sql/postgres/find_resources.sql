SELECT r.resource_id, r.identity_key, (
    SELECT jr.job_seq
    FROM job_resources AS jr
    WHERE jr.job_seq = %(job_seq)s AND jr.resource_id = r.resource_id
) IS NOT NULL AS repeated
FROM resources AS r
WHERE r.tenant_id = %(tenant_id)s
    AND r.identity_key = ANY (ARRAY(SELECT json_array_elements_text(%(identity_keys)s::json)));
