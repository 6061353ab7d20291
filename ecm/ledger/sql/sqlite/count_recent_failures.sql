SELECT count(*) AS failures FROM task_events WHERE at > :since AND to_state = 'failed';
