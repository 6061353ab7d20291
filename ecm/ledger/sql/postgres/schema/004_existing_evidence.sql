-- Which evidence exists: the tasks that made it, by the first 64 bits of its key. Filled many at a
-- time and in order, since keys are hashes, and a leaf of the index would be written for each.
CREATE TABLE evidence (
    prefix BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (prefix, seq)
);

INSERT INTO evidence (prefix, seq)
SELECT ('x' || substr(evidence_key, 1, 16))::bit(64)::bigint, seq
FROM tasks
WHERE persisted_at IS NOT NULL AND linked = 0
ORDER BY 1, 2;

DROP INDEX tasks_by_evidence;

-- The order in which batches were persisted, without gaps: 1, 2, 3 ...
ALTER TABLE batches ADD COLUMN persisted_as BIGINT;

UPDATE batches SET persisted_as = batch_seq WHERE persisted_at IS NOT NULL;

CREATE INDEX batches_in_order ON batches (persisted_as) WHERE persisted_as IS NOT NULL;

-- persisted: the last place in that order. folded: the last whose tasks are in the table evidence.
INSERT INTO counters (name, value)
SELECT n.name, coalesce((SELECT max(persisted_as) FROM batches), 0)
FROM (VALUES ('persisted'), ('folded')) AS n (name);

-- Results come with the fences of their claims: found by them they lie side by side.
DROP INDEX tasks_by_lease;

CREATE INDEX tasks_by_lease ON tasks (lease_seq, fence) WHERE lease_seq IS NOT NULL;
