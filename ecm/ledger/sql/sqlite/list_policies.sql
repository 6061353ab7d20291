SELECT stream_id, retry_policy
FROM streams
WHERE stream_id IN (SELECT value FROM json_each(:stream_ids));
