SELECT 'task ' || t.task_id || ' lies on no resource or in no stream' AS found
FROM tasks AS t
LEFT JOIN resources AS r ON r.resource_id = t.resource_id
LEFT JOIN streams AS s ON s.stream_id = t.stream_id
WHERE r.resource_id IS NULL OR s.stream_id IS NULL
LIMIT 1;
