SELECT seq, task_id, stream_id, state, attempt, fence, failures, expiries,
    deadline_at
FROM tasks
WHERE lease_seq = :lease_seq;
