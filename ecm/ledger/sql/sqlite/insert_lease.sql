INSERT INTO leases (lease_id, holder, fence, acquired_at, heartbeat_at, expires_at)
VALUES (:lease_id, :holder, :fence, :now, :now, :expires_at);
