-- A lease that somebody is prolonging, claiming under or rescuing at this moment is skipped.
SELECT lease_seq, holder
FROM leases
WHERE expires_at <= %(now)s
ORDER BY expires_at
LIMIT 1
FOR UPDATE SKIP LOCKED;
