INSERT INTO resources (resource_id, tenant_id, identity_key, uri, size, mtime_ns, etag)
SELECT resource_id, tenant_id, identity_key, uri, size, mtime_ns, etag
FROM json_to_recordset(%(rows)s::json) AS r (
    resource_id BIGINT, tenant_id TEXT, identity_key TEXT, uri TEXT, size BIGINT,
    mtime_ns BIGINT, etag TEXT
);
