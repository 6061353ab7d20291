-- Every exceptional step: the task leaves its lease and its batch.
UPDATE tasks
SET state = :state,
    run_after = :run_after,
    failures = :failures,
    expiries = :expiries,
    last_event = :event_id,
    asset_id = coalesce(:asset_id, asset_id),
    lease_seq = NULL,
    batch_seq = NULL,
    evidence_key = NULL,
    linked = 0,
    reported_at = NULL
WHERE seq = :seq AND fence = :fence;
