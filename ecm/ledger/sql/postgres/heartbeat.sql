UPDATE leases
SET heartbeat_at = %(now)s, expires_at = %(expires_at)s, progress = %(progress)s
WHERE lease_id = %(lease_id)s AND fence = %(fence)s
    AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s);
