INSERT INTO leases (lease_id, holder, fence, tenant_id, acquired_at, heartbeat_at, expires_at)
VALUES (:lease_id, :holder, :fence, :tenant_id, :now, :now, :expires_at);
