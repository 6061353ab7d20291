SELECT r.resource_id, r.identity_key, jr.job_seq IS NOT NULL AS repeated
FROM resources AS r
LEFT JOIN job_resources AS jr ON jr.job_seq = %(job_seq)s AND jr.resource_id = r.resource_id
WHERE r.tenant_id = %(tenant_id)s
    AND r.identity_key = ANY (ARRAY(SELECT json_array_elements_text(%(identity_keys)s::json)));
