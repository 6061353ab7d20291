SELECT
    coalesce(sum(tasks), 0) AS committed,
    coalesce(sum(tasks) FILTER (WHERE persisted_at > :since), 0) AS recent
FROM batches
WHERE persisted_at IS NOT NULL;
