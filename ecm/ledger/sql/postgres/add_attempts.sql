INSERT INTO attempts (slot, tenant_id, worker, outcome, tasks)
SELECT slot, tenant_id, worker, outcome, tasks
FROM json_to_recordset(%(rows)s::json)
    AS r (slot BIGINT, tenant_id TEXT, worker TEXT, outcome TEXT, tasks BIGINT)
ON CONFLICT (slot, tenant_id, worker, outcome)
DO UPDATE SET tasks = attempts.tasks + excluded.tasks;
