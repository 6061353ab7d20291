SELECT lease_seq, holder FROM leases WHERE holder = :holder LIMIT 1;
