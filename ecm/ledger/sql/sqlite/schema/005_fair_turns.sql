-- Tenants take turns among tasks of one priority: what one has queued at another does not count.
CREATE TABLE turns (
    priority INTEGER PRIMARY KEY,
    turn INTEGER NOT NULL
);

INSERT INTO turns (priority, turn)
SELECT p.priority, c.value
FROM (SELECT DISTINCT priority FROM tasks WHERE state IN ('queued', 'retry_queued')) AS p
CROSS JOIN counters AS c ON c.name = 'turn';

DELETE FROM counters WHERE name = 'turn';

-- turn: the last place in the order of a priority that was given to this tenant.
CREATE TABLE tenant_turns (
    tenant_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, priority)
) WITHOUT ROWID;

INSERT INTO tenant_turns (tenant_id, priority, turn)
SELECT n.tenant_id, t.priority, n.turn FROM tenants AS n CROSS JOIN turns AS t;

DROP TABLE tenants;
