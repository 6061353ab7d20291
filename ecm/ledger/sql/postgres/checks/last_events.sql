SELECT 'task ' || t.task_id || ' names an event that is not there' AS found
FROM tasks AS t
LEFT JOIN task_events AS e ON e.event_id = t.last_event
WHERE t.last_event IS NOT NULL AND e.event_id IS NULL
LIMIT 1;
