SELECT lease_seq, expires_at, tenant_id
FROM leases
WHERE lease_id = %(lease_id)s AND fence = %(fence)s
FOR UPDATE;
