UPDATE leases
SET heartbeat_at = :now, expires_at = :expires_at, progress = :progress
WHERE lease_id = :lease_id AND fence = :fence
    AND (:tenant_id IS NULL OR tenant_id = :tenant_id);
