-- As find_tasks. Where writers run side by side it also keeps others from moving the tasks.
SELECT seq, task_id, resource_id, stream_id, state, attempt, fence, batch_seq, failures, expiries,
    asset_id, evidence_key, deadline_at
FROM tasks
WHERE task_id IN (SELECT value FROM json_each(:task_ids));
