INSERT INTO batches (batch_id, state, tasks, reported_at, persisted_at)
VALUES (:batch_id, 'persisted', :tasks, :reported_at, :persisted_at)
ON CONFLICT (batch_id) DO UPDATE SET tasks = tasks + excluded.tasks;
