INSERT INTO tallies (tenant_id, what, tasks)
VALUES (:tenant_id, :what, :tasks)
ON CONFLICT (tenant_id, what) DO UPDATE SET tasks = tasks + excluded.tasks;
