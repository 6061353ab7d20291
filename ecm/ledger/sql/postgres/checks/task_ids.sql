SELECT 'task ' || t.task_id || ' cannot be found by its id' AS found
FROM tasks AS t
LEFT JOIN task_ids AS i ON i.task_id = t.task_id
WHERE i.seq IS DISTINCT FROM t.seq
LIMIT 1;
