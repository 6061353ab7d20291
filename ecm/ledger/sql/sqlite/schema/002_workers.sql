-- Whose tasks may be claimed under a lease; null: any tenant's.
ALTER TABLE leases ADD COLUMN tenant_id TEXT;

ALTER TABLE task_events ADD COLUMN worker TEXT NOT NULL DEFAULT '';

-- Ended attempts, for rates: by tenant, worker and the ten seconds they ended in (Unix seconds).
-- outcome: reported, expired, or the error class of a failure.
CREATE TABLE attempts (
    slot INTEGER NOT NULL,
    tenant_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    outcome TEXT NOT NULL,
    tasks INTEGER NOT NULL,
    PRIMARY KEY (slot, tenant_id, worker, outcome)
) WITHOUT ROWID;

-- Totals since the beginning, so that nobody has to count millions: persisted, done,
-- and stale: results refused because of their fence (of no tenant when the task is unknown).
CREATE TABLE tallies (
    tenant_id TEXT NOT NULL,
    what TEXT NOT NULL,
    tasks INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, what)
) WITHOUT ROWID;

INSERT INTO tallies (tenant_id, what, tasks)
SELECT j.tenant_id, 'persisted', count(*)
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.state IN ('persisted', 'done')
GROUP BY j.tenant_id;

INSERT INTO tallies (tenant_id, what, tasks)
SELECT j.tenant_id, 'done', count(*)
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.state = 'done'
GROUP BY j.tenant_id;

INSERT INTO tallies (tenant_id, what, tasks)
SELECT '', 'stale', value FROM counters WHERE name = 'stale' AND value > 0;

DELETE FROM counters WHERE name IN ('done', 'stale');
