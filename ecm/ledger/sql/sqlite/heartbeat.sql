UPDATE leases
SET heartbeat_at = :now, expires_at = :expires_at, progress = :progress
WHERE lease_id = :lease_id AND fence = :fence;
