INSERT INTO leases (lease_id, holder, fence, tenant_id, acquired_at, heartbeat_at, expires_at)
VALUES (
    %(lease_id)s, %(holder)s, %(fence)s, %(tenant_id)s, %(now)s, %(now)s, %(expires_at)s
);
