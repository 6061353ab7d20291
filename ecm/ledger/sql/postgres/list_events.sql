SELECT * FROM task_events WHERE seq = %(seq)s ORDER BY event_id;
