SELECT seq, task_id, resource_id, stream_id, state, attempt, fence, batch_seq, failures, expiries,
    asset_id, evidence_key, deadline_at
FROM tasks
WHERE seq = ANY (ARRAY(
    SELECT i.seq
    FROM task_ids AS i
    WHERE i.task_id = ANY (ARRAY(SELECT json_array_elements_text(%(task_ids)s::json)))
))
ORDER BY seq
FOR NO KEY UPDATE;
