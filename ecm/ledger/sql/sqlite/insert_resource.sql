INSERT INTO resources (resource_id, tenant_id, identity_key, uri, size, mtime_ns, etag)
VALUES (:resource_id, :tenant_id, :identity_key, :uri, :size, :mtime_ns, :etag);
