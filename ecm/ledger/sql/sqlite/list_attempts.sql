SELECT worker, outcome, sum(tasks) AS tasks
FROM attempts
WHERE slot > :since AND (:tenant_id IS NULL OR tenant_id = :tenant_id)
GROUP BY worker, outcome
ORDER BY worker, outcome;
