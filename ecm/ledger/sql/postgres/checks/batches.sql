SELECT 'batch ' || b.batch_id || ' is persisted and holds reported tasks' AS found
FROM batches AS b
JOIN tasks AS t ON t.batch_seq = b.batch_seq
WHERE b.state = 'persisted' AND t.state = 'reported'
LIMIT 1;
