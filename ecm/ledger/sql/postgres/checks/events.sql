SELECT 'event ' || e.event_id || ' belongs to no task' AS found
FROM task_events AS e
LEFT JOIN tasks AS t ON t.seq = e.seq
WHERE t.seq IS NULL
LIMIT 1;
