WITH entered AS (
    INSERT INTO tasks (
        task_id, resource_id, stream_id, priority, deadline_at, turn, state, created_at
    )
    SELECT task_id, resource_id, stream_id, priority, deadline_at, turn, 'queued', now
    FROM json_to_recordset(%(rows)s::json) AS r (
        task_id TEXT, resource_id BIGINT, stream_id BIGINT, priority BIGINT,
        deadline_at DOUBLE PRECISION, turn BIGINT, now DOUBLE PRECISION
    )
    RETURNING task_id, seq
)
INSERT INTO task_ids (task_id, seq)
SELECT task_id, seq FROM entered;
