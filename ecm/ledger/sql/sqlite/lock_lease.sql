SELECT lease_seq, expires_at, tenant_id FROM leases WHERE lease_id = :lease_id AND fence = :fence;
