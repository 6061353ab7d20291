-- What a task that has just been moved to done was about.
UPDATE tasks AS t
SET batch_seq = r.batch_seq,
    asset_id = r.asset_id,
    evidence_key = r.evidence_key,
    linked = r.linked,
    persisted_at = r.observed_at,
    done_at = r.now
FROM json_to_recordset(%(rows)s::json) AS r (
    seq BIGINT, batch_seq BIGINT, asset_id TEXT, evidence_key TEXT, linked SMALLINT,
    observed_at DOUBLE PRECISION, now DOUBLE PRECISION
)
WHERE t.seq = r.seq;
