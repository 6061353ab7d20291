-- The evidence of tasks that no batch of this ledger committed.
INSERT INTO evidence (prefix, seq)
SELECT substr(evidence_key, 1, 16), seq
FROM tasks
WHERE task_id IN (SELECT value FROM json_each(:task_ids))
    AND state IN ('persisted', 'done') AND linked = 0
ORDER BY 1, 2
ON CONFLICT DO NOTHING;
