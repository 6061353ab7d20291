-- Times are Unix seconds. deadline_at is infinite where a task has none.

-- Monotone numbers: fence, turn (virtual time of fair queueing), resource, event, stale, done.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO counters (name, value)
VALUES ('fence', 0), ('turn', 0), ('resource', 0), ('event', 0), ('stale', 0), ('done', 0);

-- turn: the last place in the fair order that was given to this tenant.
CREATE TABLE tenants (
    tenant_id TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) WITHOUT ROWID;

-- *_digest: order-free sums of keys, 64 hex digits; see ecm.contracts.identity.KeyDigest.
CREATE TABLE jobs (
    job_seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE,
    tenant_id TEXT NOT NULL,
    source TEXT NOT NULL,
    transforms TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('listing', 'listed', 'finished', 'cancelled')),
    cursor TEXT,
    created_at REAL NOT NULL,
    listed_at REAL,
    finished_at REAL,
    listed INTEGER NOT NULL DEFAULT 0,
    listed_digest TEXT NOT NULL DEFAULT '0',
    filtered INTEGER NOT NULL DEFAULT 0,
    filtered_digest TEXT NOT NULL DEFAULT '0',
    reused INTEGER NOT NULL DEFAULT 0,
    reused_digest TEXT NOT NULL DEFAULT '0',
    reused_keys INTEGER NOT NULL DEFAULT 0,
    reused_keys_digest TEXT NOT NULL DEFAULT '0'
);

-- One row per recorded piece of a listing: recording it again answers from here.
CREATE TABLE job_chunks (
    job_seq INTEGER NOT NULL REFERENCES jobs,
    cursor TEXT NOT NULL,
    queued INTEGER NOT NULL,
    reused INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    repeated INTEGER NOT NULL,
    PRIMARY KEY (job_seq, cursor)
) WITHOUT ROWID;

CREATE TABLE skipped_resources (
    job_seq INTEGER NOT NULL REFERENCES jobs,
    uri TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (job_seq, uri)
) WITHOUT ROWID;

CREATE TABLE resources (
    resource_id INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    identity_key TEXT NOT NULL,
    uri TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER,
    etag TEXT,
    UNIQUE (identity_key, tenant_id)
);

-- A stream is what one job asks of one transform; tasks point to it instead of repeating it.
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY,
    job_seq INTEGER NOT NULL REFERENCES jobs,
    task_type TEXT NOT NULL,
    transform TEXT NOT NULL,
    model_spec TEXT NOT NULL,
    retry_policy TEXT NOT NULL,
    UNIQUE (job_seq, task_type, transform, model_spec, retry_policy)
);

CREATE INDEX streams_by_transform ON streams (transform);

-- The streams in which a job's tasks lie: its own, and those of earlier jobs that it joined.
CREATE TABLE job_streams (
    job_seq INTEGER NOT NULL REFERENCES jobs,
    stream_id INTEGER NOT NULL REFERENCES streams,
    PRIMARY KEY (job_seq, stream_id)
) WITHOUT ROWID;

-- Resources of a job that were not finished when it listed them. Reused ones have no row.
CREATE TABLE job_resources (
    job_seq INTEGER NOT NULL REFERENCES jobs,
    resource_id INTEGER NOT NULL REFERENCES resources,
    PRIMARY KEY (job_seq, resource_id)
) WITHOUT ROWID;

-- Only leases in force. A released or expired lease has no row.
CREATE TABLE leases (
    lease_seq INTEGER PRIMARY KEY,
    lease_id TEXT NOT NULL UNIQUE,
    holder TEXT NOT NULL,
    fence INTEGER NOT NULL,
    acquired_at REAL NOT NULL,
    heartbeat_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    progress INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE batches (
    batch_seq INTEGER PRIMARY KEY,
    batch_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('reported', 'persisted', 'requeued')),
    tasks INTEGER NOT NULL,
    reported_at REAL NOT NULL,
    persisted_at REAL,
    versions TEXT
);

CREATE INDEX batches_unresolved ON batches (batch_seq) WHERE state = 'reported';

CREATE INDEX batches_persisted ON batches (persisted_at, tasks) WHERE persisted_at IS NOT NULL;

-- failures: JSON object of error class -> failed attempts since the last redrive.
CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    resource_id INTEGER NOT NULL REFERENCES resources,
    stream_id INTEGER NOT NULL REFERENCES streams,
    priority INTEGER NOT NULL,
    deadline_at REAL NOT NULL,
    turn INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'queued', 'leased', 'running', 'reported', 'persisted', 'done', 'retry_queued',
        'model_mismatch', 'dead_letter', 'cancelled'
    )),
    run_after REAL NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    lease_seq INTEGER,
    batch_seq INTEGER,
    linked INTEGER NOT NULL DEFAULT 0,
    asset_id TEXT,
    evidence_key TEXT,
    failures TEXT,
    expiries INTEGER NOT NULL DEFAULT 0,
    last_event INTEGER,
    created_at REAL NOT NULL,
    leased_at REAL,
    started_at REAL,
    reported_at REAL,
    persisted_at REAL,
    done_at REAL
);

CREATE INDEX tasks_by_resource ON tasks (resource_id);

-- The queue: what may be claimed, in the order in which it is claimed from one stream.
CREATE INDEX tasks_runnable ON tasks (
    stream_id, priority DESC, deadline_at, turn, seq, state, run_after, resource_id
) WHERE state IN ('queued', 'retry_queued');

CREATE INDEX tasks_by_lease ON tasks (lease_seq) WHERE lease_seq IS NOT NULL;

CREATE INDEX tasks_by_batch ON tasks (batch_seq) WHERE batch_seq IS NOT NULL;

CREATE INDEX tasks_blocked ON tasks (state, stream_id, priority)
WHERE state IN ('dead_letter', 'model_mismatch', 'cancelled');

-- Which evidence exists: linked tasks have none of their own.
CREATE INDEX tasks_by_evidence ON tasks (evidence_key)
WHERE persisted_at IS NOT NULL AND linked = 0;

-- Every exceptional step. The normal path is timestamps on the task row.
CREATE TABLE task_events (
    event_id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL REFERENCES tasks,
    at REAL NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    cause TEXT NOT NULL,
    error_class TEXT,
    code TEXT,
    stage TEXT,
    message TEXT
);

CREATE INDEX task_events_by_task ON task_events (seq);

CREATE INDEX task_events_by_time ON task_events (at, to_state);

-- Named rights that one incarnation holds at a time, such as committing to a store.
CREATE TABLE rights (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    fence INTEGER NOT NULL,
    acquired_at REAL NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID;
