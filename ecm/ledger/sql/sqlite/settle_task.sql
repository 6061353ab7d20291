-- What a task that has just been moved to done was about.
UPDATE tasks
SET batch_seq = :batch_seq,
    asset_id = :asset_id,
    evidence_key = :evidence_key,
    linked = :linked,
    persisted_at = :observed_at,
    done_at = :now
WHERE seq = :seq;
