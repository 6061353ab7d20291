-- Times are Unix seconds. deadline_at is infinite where a task has none. Text compares by bytes.
-- Bulk tables have no foreign keys: one look-up a row would halve the speed of listing. Their
-- references are checked by `verify`.

CREATE TABLE ecm_ledger (
    version INTEGER NOT NULL
);

INSERT INTO ecm_ledger (version) VALUES (0);

CREATE SEQUENCE fences;

-- One call reserves a block of ids, which ends with the value returned.
CREATE SEQUENCE resource_ids START 1048576 INCREMENT 1048576;

CREATE SEQUENCE event_ids START 1048576 INCREMENT 1048576;

-- turn: virtual time of fair queueing.
CREATE TABLE counters (
    name TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
) WITH (fillfactor = 10);

INSERT INTO counters (name, value) VALUES ('turn', 0);

-- turn: the last place in the fair order that was given to this tenant.
CREATE TABLE tenants (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    turn BIGINT NOT NULL
) WITH (fillfactor = 50);

-- *_digest: order-free sums of keys, 64 hex digits; see ecm.contracts.identity.KeyDigest.
CREATE TABLE jobs (
    job_seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id TEXT COLLATE "C" NOT NULL UNIQUE,
    tenant_id TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    transforms TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL
        CHECK (state IN ('listing', 'listed', 'finished', 'cancelled')),
    cursor TEXT COLLATE "C",
    created_at DOUBLE PRECISION NOT NULL,
    listed_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    listed BIGINT NOT NULL DEFAULT 0,
    listed_digest TEXT COLLATE "C" NOT NULL DEFAULT '0',
    filtered BIGINT NOT NULL DEFAULT 0,
    filtered_digest TEXT COLLATE "C" NOT NULL DEFAULT '0',
    reused BIGINT NOT NULL DEFAULT 0,
    reused_digest TEXT COLLATE "C" NOT NULL DEFAULT '0',
    reused_keys BIGINT NOT NULL DEFAULT 0,
    reused_keys_digest TEXT COLLATE "C" NOT NULL DEFAULT '0'
) WITH (fillfactor = 50);

CREATE INDEX jobs_by_tenant ON jobs (tenant_id, job_seq);

-- One row per recorded piece of a listing: recording it again answers from here.
CREATE TABLE job_chunks (
    job_seq BIGINT NOT NULL REFERENCES jobs,
    cursor TEXT COLLATE "C" NOT NULL,
    queued BIGINT NOT NULL,
    reused BIGINT NOT NULL,
    dead BIGINT NOT NULL,
    filtered BIGINT NOT NULL,
    repeated BIGINT NOT NULL,
    PRIMARY KEY (job_seq, cursor)
);

CREATE TABLE skipped_resources (
    job_seq BIGINT NOT NULL,
    uri TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (job_seq, uri)
);

-- A claim locks rows of this table, so that two claimants never split a resource.
CREATE TABLE resources (
    resource_id BIGINT PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    identity_key TEXT COLLATE "C" NOT NULL,
    uri TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT,
    etag TEXT COLLATE "C",
    UNIQUE (identity_key, tenant_id)
);

-- A stream is what one job asks of one transform; tasks point to it instead of repeating it.
CREATE TABLE streams (
    stream_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_seq BIGINT NOT NULL REFERENCES jobs,
    task_type TEXT COLLATE "C" NOT NULL,
    transform TEXT COLLATE "C" NOT NULL,
    model_spec TEXT COLLATE "C" NOT NULL,
    retry_policy TEXT COLLATE "C" NOT NULL
);

-- By a digest: two of the columns may be longer than an index takes.
CREATE UNIQUE INDEX streams_once ON streams (
    job_seq, task_type, transform, md5(model_spec), md5(retry_policy)
);

CREATE INDEX streams_by_transform ON streams (transform);

-- The streams in which a job's tasks lie: its own, and those of earlier jobs that it joined.
CREATE TABLE job_streams (
    job_seq BIGINT NOT NULL REFERENCES jobs,
    stream_id BIGINT NOT NULL REFERENCES streams,
    PRIMARY KEY (job_seq, stream_id)
);

-- Resources of a job that were not finished when it listed them. Reused ones have no row.
CREATE TABLE job_resources (
    job_seq BIGINT NOT NULL,
    resource_id BIGINT NOT NULL,
    PRIMARY KEY (job_seq, resource_id)
);

-- Only leases in force. A released or expired lease has no row.
CREATE TABLE leases (
    lease_seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lease_id TEXT COLLATE "C" NOT NULL UNIQUE,
    holder TEXT COLLATE "C" NOT NULL,
    fence BIGINT NOT NULL,
    acquired_at DOUBLE PRECISION NOT NULL,
    heartbeat_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    progress BIGINT NOT NULL DEFAULT 0
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 500
);

CREATE TABLE batches (
    batch_seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id TEXT COLLATE "C" NOT NULL UNIQUE,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('reported', 'persisted', 'requeued')),
    tasks BIGINT NOT NULL,
    reported_at DOUBLE PRECISION NOT NULL,
    persisted_at DOUBLE PRECISION,
    versions TEXT COLLATE "C"
) WITH (fillfactor = 50);

CREATE INDEX batches_unresolved ON batches (batch_seq) WHERE state = 'reported';

CREATE INDEX batches_persisted ON batches (persisted_at) WHERE persisted_at IS NOT NULL;

-- failures: JSON object of error class -> failed attempts since the last redrive.
-- No index names `state`: the steps leased -> running -> and reported -> persisted -> done change
-- no indexed column and stay on their page (HOT). Hence the two generated columns.
CREATE TABLE tasks (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id TEXT COLLATE "C" NOT NULL,
    resource_id BIGINT NOT NULL,
    stream_id BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    deadline_at DOUBLE PRECISION NOT NULL,
    turn BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN (
        'queued', 'leased', 'running', 'reported', 'persisted', 'done', 'retry_queued',
        'model_mismatch', 'dead_letter', 'cancelled'
    )),
    runnable BOOLEAN NOT NULL GENERATED ALWAYS AS (
        state IN ('queued', 'retry_queued')
    ) STORED,
    blocked TEXT COLLATE "C" GENERATED ALWAYS AS (
        CASE WHEN state IN ('dead_letter', 'model_mismatch', 'cancelled') THEN state END
    ) STORED,
    run_after DOUBLE PRECISION NOT NULL DEFAULT 0,
    attempt BIGINT NOT NULL DEFAULT 0,
    fence BIGINT NOT NULL DEFAULT 0,
    lease_seq BIGINT,
    batch_seq BIGINT,
    linked SMALLINT NOT NULL DEFAULT 0,
    asset_id TEXT COLLATE "C",
    evidence_key TEXT COLLATE "C",
    failures TEXT COLLATE "C",
    expiries BIGINT NOT NULL DEFAULT 0,
    last_event BIGINT,
    created_at DOUBLE PRECISION NOT NULL,
    leased_at DOUBLE PRECISION,
    started_at DOUBLE PRECISION,
    reported_at DOUBLE PRECISION,
    persisted_at DOUBLE PRECISION,
    done_at DOUBLE PRECISION
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- Ids are hashes: in an index of the table that changes, every claim and report would write to
-- leaves strewn all over it, and the slower the more tasks there are.
CREATE TABLE task_ids (
    task_id TEXT COLLATE "C" PRIMARY KEY,
    seq BIGINT NOT NULL
);

CREATE INDEX tasks_by_resource ON tasks (resource_id);

-- The queue: what may be claimed, in the order in which it is claimed from one stream.
CREATE INDEX tasks_runnable ON tasks (stream_id, priority DESC, deadline_at, turn, seq)
WHERE runnable;

CREATE INDEX tasks_by_lease ON tasks (lease_seq) WHERE lease_seq IS NOT NULL;

CREATE INDEX tasks_by_batch ON tasks (batch_seq) WHERE batch_seq IS NOT NULL;

CREATE INDEX tasks_blocked ON tasks (blocked, stream_id, priority) WHERE blocked IS NOT NULL;

-- Which evidence exists or is being committed: linked tasks have none of their own.
CREATE INDEX tasks_by_evidence ON tasks (evidence_key)
WHERE evidence_key IS NOT NULL AND linked = 0;

-- Every exceptional step. The normal path is timestamps on the task row.
CREATE TABLE task_events (
    event_id BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    from_state TEXT COLLATE "C" NOT NULL,
    to_state TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    error_class TEXT COLLATE "C",
    code TEXT COLLATE "C",
    stage TEXT COLLATE "C",
    message TEXT COLLATE "C"
);

CREATE INDEX task_events_by_task ON task_events (seq);

-- Named rights that one incarnation holds at a time, such as committing to a store. A right given
-- up keeps its row, so that its next fence exceeds every earlier one.
CREATE TABLE rights (
    name TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    fence BIGINT NOT NULL,
    acquired_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
) WITH (fillfactor = 10);
