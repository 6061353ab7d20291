INSERT INTO batches (batch_id, state, tasks, reported_at) VALUES (:batch_id, 'reported', 0, :now);
