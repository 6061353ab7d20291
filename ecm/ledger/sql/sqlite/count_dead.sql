SELECT e.error_class, count(*) AS tasks
FROM tasks AS t INDEXED BY tasks_blocked
JOIN task_events AS e ON e.event_id = t.last_event
WHERE t.state IN ('dead_letter', 'model_mismatch', 'cancelled') AND t.state = 'dead_letter'
GROUP BY e.error_class;
