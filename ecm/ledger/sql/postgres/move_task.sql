-- Every exceptional step: the task leaves its lease and its batch.
UPDATE tasks AS t
SET state = r.state,
    run_after = r.run_after,
    failures = r.failures,
    expiries = r.expiries,
    last_event = r.event_id,
    asset_id = coalesce(r.asset_id, t.asset_id),
    lease_seq = NULL,
    batch_seq = NULL,
    evidence_key = NULL,
    linked = 0,
    reported_at = NULL
FROM json_to_recordset(%(rows)s::json) AS r (
    seq BIGINT, fence BIGINT, state TEXT, run_after DOUBLE PRECISION, failures TEXT,
    expiries BIGINT, event_id BIGINT, asset_id TEXT
)
WHERE t.seq = r.seq AND t.fence = r.fence;
