INSERT INTO tallies (tenant_id, what, tasks)
VALUES (%(tenant_id)s, %(what)s, %(tasks)s)
ON CONFLICT (tenant_id, what) DO UPDATE SET tasks = tallies.tasks + excluded.tasks;
