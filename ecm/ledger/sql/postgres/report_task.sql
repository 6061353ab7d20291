UPDATE tasks AS t
SET state = 'reported',
    batch_seq = r.batch_seq,
    asset_id = r.asset_id,
    evidence_key = r.evidence_key,
    linked = r.linked,
    reported_at = r.now,
    started_at = coalesce(t.started_at, t.leased_at),
    lease_seq = NULL
FROM json_to_recordset(%(rows)s::json) AS r (
    seq BIGINT, fence BIGINT, batch_seq BIGINT, asset_id TEXT, evidence_key TEXT,
    linked SMALLINT, now DOUBLE PRECISION
)
WHERE t.seq = r.seq AND t.fence = r.fence AND t.state IN ('leased', 'running');
