SELECT DISTINCT evidence_key
FROM tasks
WHERE evidence_key IN (SELECT value FROM json_each(:keys))
    AND persisted_at IS NOT NULL AND linked = 0;
