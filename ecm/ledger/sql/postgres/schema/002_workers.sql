-- Whose tasks may be claimed under a lease; null: any tenant's.
ALTER TABLE leases ADD COLUMN tenant_id TEXT COLLATE "C";

ALTER TABLE task_events ADD COLUMN worker TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Ended attempts, for rates: by tenant, worker and the ten seconds they ended in (Unix seconds).
-- outcome: reported, expired, or the error class of a failure.
CREATE TABLE attempts (
    slot BIGINT NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    tasks BIGINT NOT NULL,
    PRIMARY KEY (slot, tenant_id, worker, outcome)
) WITH (fillfactor = 50);

-- Totals since the beginning, so that nobody has to count millions: persisted, done,
-- and stale: results refused because of their fence (of no tenant when the task is unknown).
CREATE TABLE tallies (
    tenant_id TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    tasks BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, what)
) WITH (fillfactor = 10);

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
