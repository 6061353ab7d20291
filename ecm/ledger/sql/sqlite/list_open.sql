-- Tasks that are neither committed nor audited, each state from the small index that holds it.
WITH busy (seq) AS (
    SELECT seq
    FROM tasks INDEXED BY tasks_runnable
    WHERE state IN ('queued', 'retry_queued') AND (:state IS NULL OR state = :state)
    UNION ALL
    SELECT seq
    FROM tasks INDEXED BY tasks_by_lease
    WHERE lease_seq IS NOT NULL AND (:state IS NULL OR state = :state)
    UNION ALL
    SELECT t.seq
    FROM batches AS b
    CROSS JOIN tasks AS t ON t.batch_seq = b.batch_seq
    WHERE b.state = 'reported' AND (:state IS NULL OR t.state = :state)
    UNION ALL
    SELECT seq
    FROM tasks INDEXED BY tasks_blocked
    WHERE state IN ('dead_letter', 'model_mismatch', 'cancelled') AND (:state IS NULL OR state = :state)
)
SELECT t.task_id, t.state, t.attempt, t.priority, t.run_after, j.tenant_id, j.job_id, r.uri,
    s.task_type, s.transform, e.cause
FROM busy
CROSS JOIN tasks AS t ON t.seq = busy.seq
CROSS JOIN streams AS s ON s.stream_id = t.stream_id
CROSS JOIN jobs AS j ON j.job_seq = s.job_seq
CROSS JOIN resources AS r ON r.resource_id = t.resource_id
LEFT JOIN task_events AS e ON e.event_id = t.last_event
WHERE :tenant_id IS NULL OR j.tenant_id = :tenant_id
LIMIT :limit;
