-- Tenants take turns among tasks of one priority: what one has queued at another does not count.
CREATE TABLE turns (
    priority BIGINT PRIMARY KEY,
    turn BIGINT NOT NULL
) WITH (fillfactor = 10);

INSERT INTO turns (priority, turn)
SELECT p.priority, c.value
FROM (SELECT DISTINCT priority FROM tasks WHERE runnable) AS p
JOIN counters AS c ON c.name = 'turn';

DELETE FROM counters WHERE name = 'turn';

-- turn: the last place in the order of a priority that was given to this tenant.
CREATE TABLE tenant_turns (
    tenant_id TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    turn BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, priority)
) WITH (fillfactor = 50);

INSERT INTO tenant_turns (tenant_id, priority, turn)
SELECT n.tenant_id, t.priority, n.turn FROM tenants AS n CROSS JOIN turns AS t;

DROP TABLE tenants;

-- With run_after, tasks that wait for a retry are passed over without a look at their rows.
DROP INDEX tasks_runnable;

CREATE INDEX tasks_runnable
ON tasks (stream_id, priority DESC, deadline_at, turn, seq, run_after, resource_id)
WHERE runnable;
