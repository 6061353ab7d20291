SELECT worker, outcome, sum(tasks)::bigint AS tasks
FROM attempts
WHERE slot > %(since)s AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
GROUP BY worker, outcome
ORDER BY worker, outcome;
