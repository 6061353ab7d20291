INSERT INTO task_events (
    event_id, seq, at, from_state, to_state, attempt, fence, worker, cause,
    error_class, code, stage, message
)
VALUES (
    :event_id, :seq, :at, :from_state, :to_state, :attempt, :fence, :worker, :cause,
    :error_class, :code, :stage, :message
);
