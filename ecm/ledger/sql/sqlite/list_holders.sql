SELECT l.holder, max(l.expires_at) AS expires_at, count(*) AS leases,
    sum((SELECT count(*) FROM tasks AS t WHERE t.lease_seq = l.lease_seq)) AS tasks,
    sum(l.progress) AS progress
FROM leases AS l
WHERE l.expires_at > :now AND (:tenant_id IS NULL OR l.tenant_id = :tenant_id)
GROUP BY l.holder
ORDER BY l.holder;
