INSERT INTO batches AS b (batch_id, state, tasks, reported_at, persisted_at)
SELECT batch_id, 'persisted', tasks, reported_at, persisted_at
FROM json_to_recordset(%(rows)s::json) AS r (
    batch_id TEXT, tasks BIGINT, reported_at DOUBLE PRECISION, persisted_at DOUBLE PRECISION
)
ON CONFLICT (batch_id) DO UPDATE SET tasks = b.tasks + excluded.tasks;
