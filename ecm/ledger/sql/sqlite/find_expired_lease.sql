SELECT lease_seq, holder
FROM leases
WHERE expires_at <= :now
ORDER BY expires_at
LIMIT 1;
