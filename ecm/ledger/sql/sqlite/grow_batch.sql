INSERT INTO batches (batch_id, state, tasks, reported_at)
VALUES (:batch_id, 'reported', :tasks, :now)
ON CONFLICT (batch_id) DO UPDATE SET tasks = tasks + excluded.tasks;
