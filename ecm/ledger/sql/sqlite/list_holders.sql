-- A tenant sees the leases that are its own, and of others those that hold tasks of it.
SELECT l.holder, max(l.expires_at) AS expires_at, count(*) AS leases,
    sum((
        SELECT count(*)
        FROM tasks AS t
        JOIN streams AS s ON s.stream_id = t.stream_id
        JOIN jobs AS j ON j.job_seq = s.job_seq
        WHERE t.lease_seq = l.lease_seq AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id)
    )) AS tasks,
    sum(l.progress) AS progress
FROM leases AS l
WHERE l.expires_at > :now
    AND (:tenant_id IS NULL OR l.tenant_id = :tenant_id OR (l.tenant_id IS NULL AND EXISTS (
        SELECT 1
        FROM tasks AS t
        JOIN streams AS s ON s.stream_id = t.stream_id
        JOIN jobs AS j ON j.job_seq = s.job_seq
        WHERE t.lease_seq = l.lease_seq AND j.tenant_id = :tenant_id
    )))
GROUP BY l.holder
ORDER BY l.holder;
