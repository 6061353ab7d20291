-- Counts no further than :limit, so that a deep queue does not slow the listing down.
SELECT count(*) AS tasks
FROM (
    SELECT 1
    FROM tasks
    WHERE state IN ('queued', 'retry_queued')
    LIMIT :limit
);
