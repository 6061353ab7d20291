SELECT * FROM task_events WHERE seq = :seq ORDER BY event_id;
