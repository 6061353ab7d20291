SELECT t.seq
FROM resources AS r
JOIN tasks AS t ON t.resource_id = r.resource_id
WHERE r.tenant_id = %(tenant_id)s
    AND r.identity_key = ANY (ARRAY(SELECT json_array_elements_text(%(identity_keys)s::json)))
    AND t.state IN ('persisted', 'done');
