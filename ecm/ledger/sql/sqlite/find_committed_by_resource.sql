SELECT t.seq
FROM json_each(:identity_keys) AS p
CROSS JOIN resources AS r ON r.identity_key = p.value AND r.tenant_id = :tenant_id
CROSS JOIN tasks AS t ON t.resource_id = r.resource_id
WHERE t.state IN ('persisted', 'done');
