SELECT what, sum(tasks) AS tasks
FROM tallies
WHERE :tenant_id IS NULL OR tenant_id = :tenant_id
GROUP BY what;
