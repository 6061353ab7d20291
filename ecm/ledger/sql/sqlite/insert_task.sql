INSERT INTO tasks (task_id, resource_id, stream_id, priority, deadline_at, turn, state, created_at)
VALUES (:task_id, :resource_id, :stream_id, :priority, :deadline_at, :turn, 'queued', :now);
