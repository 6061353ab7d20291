-- A task whose evidence was found in the store: it was done under an earlier ledger.
WITH entered AS (
    INSERT INTO tasks (
        task_id, resource_id, stream_id, priority, deadline_at, turn, state, batch_seq, linked,
        asset_id, evidence_key, created_at, persisted_at, done_at
    )
    SELECT
        task_id, resource_id, stream_id, 0, deadline_at, 0, 'done', batch_seq, linked,
        asset_id, evidence_key, now, observed_at, now
    FROM json_to_recordset(%(rows)s::json) AS r (
        task_id TEXT, resource_id BIGINT, stream_id BIGINT, deadline_at DOUBLE PRECISION,
        batch_seq BIGINT, linked SMALLINT, asset_id TEXT, evidence_key TEXT,
        observed_at DOUBLE PRECISION, now DOUBLE PRECISION
    )
    RETURNING task_id, seq
)
INSERT INTO task_ids (task_id, seq)
SELECT task_id, seq FROM entered;
