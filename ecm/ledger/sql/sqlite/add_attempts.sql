INSERT INTO attempts (slot, tenant_id, worker, outcome, tasks)
VALUES (:slot, :tenant_id, :worker, :outcome, :tasks)
ON CONFLICT (slot, tenant_id, worker, outcome) DO UPDATE SET tasks = tasks + excluded.tasks;
