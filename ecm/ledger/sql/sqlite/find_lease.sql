SELECT lease_seq, expires_at FROM leases WHERE lease_id = :lease_id AND fence = :fence;
