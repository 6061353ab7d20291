-- Which evidence exists: the tasks that made it, by the first 16 hex digits of its key. Filled many
-- at a time and in order, since keys are hashes, and a leaf of the index would be written for each.
CREATE TABLE evidence (
    prefix TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES tasks,
    PRIMARY KEY (prefix, seq)
) WITHOUT ROWID;

INSERT INTO evidence (prefix, seq)
SELECT substr(evidence_key, 1, 16), seq
FROM tasks
WHERE persisted_at IS NOT NULL AND linked = 0
ORDER BY 1, 2;

DROP INDEX tasks_by_evidence;

-- The order in which batches were persisted, without gaps: 1, 2, 3 ...
ALTER TABLE batches ADD COLUMN persisted_as INTEGER;

UPDATE batches SET persisted_as = batch_seq WHERE persisted_at IS NOT NULL;

CREATE INDEX batches_in_order ON batches (persisted_as) WHERE persisted_as IS NOT NULL;

-- persisted: the last place in that order. folded: the last whose tasks are in the table evidence.
INSERT INTO counters (name, value)
SELECT n.name, coalesce(max(b.persisted_as), 0)
FROM (SELECT 'persisted' AS name UNION ALL SELECT 'folded') AS n
LEFT JOIN batches AS b ON b.persisted_as IS NOT NULL
GROUP BY n.name;

-- Results come with the fences of their claims: found by them they lie side by side.
DROP INDEX tasks_by_lease;

CREATE INDEX tasks_by_lease ON tasks (lease_seq, fence) WHERE lease_seq IS NOT NULL;
