SELECT seq, task_id, state, attempt, fence, failures, expiries
FROM tasks
WHERE batch_seq = :batch_seq AND state = 'reported';
