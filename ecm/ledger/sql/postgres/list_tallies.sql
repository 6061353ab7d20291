SELECT what, sum(tasks)::bigint AS tasks
FROM tallies
WHERE %(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s
GROUP BY what;
