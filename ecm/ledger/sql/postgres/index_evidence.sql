-- The evidence of tasks that no batch of this ledger committed.
INSERT INTO evidence (prefix, seq)
SELECT ('x' || substr(evidence_key, 1, 16))::bit(64)::bigint, seq
FROM tasks
WHERE seq = ANY (ARRAY(
    SELECT i.seq
    FROM task_ids AS i
    WHERE i.task_id = ANY (ARRAY(SELECT json_array_elements_text(%(task_ids)s::json)))
))
    AND state IN ('persisted', 'done') AND linked = 0
ORDER BY 1, 2
ON CONFLICT DO NOTHING;
