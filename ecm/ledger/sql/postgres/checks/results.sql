SELECT 'task ' || t.task_id || ' is ' || t.state || ' without a batch and its evidence' AS found
FROM tasks AS t
LEFT JOIN batches AS b ON b.batch_seq = t.batch_seq
WHERE t.state IN ('reported', 'persisted', 'done')
    AND (b.batch_seq IS NULL OR t.evidence_key IS NULL)
LIMIT 1;
