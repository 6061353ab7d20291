SELECT 'task ' || t.task_id || ' is held under a lease that is not there' AS found
FROM tasks AS t
LEFT JOIN leases AS l ON l.lease_seq = t.lease_seq
WHERE (t.state IN ('leased', 'running') OR t.lease_seq IS NOT NULL)
    AND (l.lease_seq IS NULL OR t.state NOT IN ('leased', 'running'))
LIMIT 1;
