-- A task whose evidence was found in the store: it was done under an earlier ledger.
INSERT INTO tasks (
    task_id, resource_id, stream_id, priority, deadline_at, turn, state, batch_seq, linked,
    asset_id, evidence_key, created_at, persisted_at, done_at
)
VALUES (
    :task_id, :resource_id, :stream_id, 0, :deadline_at, 0, 'done', :batch_seq, :linked,
    :asset_id, :evidence_key, :now, :observed_at, :now
);
