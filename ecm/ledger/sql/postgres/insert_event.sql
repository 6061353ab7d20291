INSERT INTO task_events (
    event_id, seq, at, from_state, to_state, attempt, fence, worker, cause,
    error_class, code, stage, message
)
SELECT event_id, seq, at, from_state, to_state, attempt, fence, worker, cause,
    error_class, code, stage, message
FROM json_to_recordset(%(rows)s::json) AS r (
    event_id BIGINT, seq BIGINT, at DOUBLE PRECISION, from_state TEXT, to_state TEXT,
    attempt BIGINT, fence BIGINT, worker TEXT, cause TEXT,
    error_class TEXT, code TEXT, stage TEXT, message TEXT
);
