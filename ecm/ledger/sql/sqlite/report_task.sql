UPDATE tasks
SET state = 'reported',
    batch_seq = :batch_seq,
    asset_id = :asset_id,
    evidence_key = :evidence_key,
    linked = :linked,
    reported_at = :now,
    started_at = coalesce(started_at, leased_at),
    lease_seq = NULL
WHERE seq = :seq AND fence = :fence AND state IN ('leased', 'running');
