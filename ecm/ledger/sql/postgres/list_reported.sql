SELECT seq, task_id, state, attempt, fence, failures, expiries
FROM tasks
WHERE batch_seq = %(batch_seq)s AND state = 'reported'
ORDER BY seq
FOR NO KEY UPDATE;
