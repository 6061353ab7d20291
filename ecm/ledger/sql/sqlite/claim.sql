-- Leases whole resources: first the best runnable tasks of each stream, then the best resources
-- among them, then every runnable task of those resources. Each step walks tasks_runnable, so the
-- cost follows the number of resources claimed and not the length of the queue.
WITH RECURSIVE
busy (stream_id) AS (
    SELECT min(stream_id) FROM tasks WHERE state IN ('queued', 'retry_queued')
    UNION ALL
    SELECT (
        SELECT min(t.stream_id)
        FROM tasks AS t
        WHERE t.state IN ('queued', 'retry_queued') AND t.stream_id > busy.stream_id
    )
    FROM busy
    WHERE busy.stream_id IS NOT NULL
),
wanted (stream_id) AS MATERIALIZED (
    SELECT s.stream_id
    FROM busy
    JOIN streams AS s ON s.stream_id = busy.stream_id
    JOIN jobs AS j ON j.job_seq = s.job_seq
    WHERE s.transform IN (SELECT value FROM json_each(:transforms))
        AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id)
        AND (:job_seq IS NULL OR s.stream_id IN (
            SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = :job_seq
        ))
),
candidates AS MATERIALIZED (
    SELECT t.resource_id, t.priority, t.deadline_at, t.turn, t.seq
    FROM wanted AS w
    CROSS JOIN tasks AS t
    WHERE t.seq IN (
        SELECT q.seq
        FROM tasks AS q INDEXED BY tasks_runnable
        WHERE q.stream_id = w.stream_id
            AND q.state IN ('queued', 'retry_queued')
            AND q.run_after <= :now
            AND (:job_seq IS NULL OR EXISTS (
                SELECT 1
                FROM job_resources AS jr
                WHERE jr.job_seq = :job_seq AND jr.resource_id = q.resource_id
            ))
        ORDER BY q.priority DESC, q.deadline_at, q.turn, q.seq
        LIMIT :max_resources
    )
),
picked AS MATERIALIZED (
    SELECT resource_id
    FROM candidates
    GROUP BY resource_id
    ORDER BY max(priority) DESC, min(deadline_at), min(turn), min(seq)
    LIMIT :max_resources
)
UPDATE tasks INDEXED BY tasks_by_resource
SET state = 'leased',
    lease_seq = :lease_seq,
    fence = :fence,
    attempt = attempt + 1,
    leased_at = :now,
    started_at = NULL
WHERE resource_id IN (SELECT resource_id FROM picked)
    AND state IN ('queued', 'retry_queued')
    AND run_after <= :now
    AND stream_id IN (SELECT stream_id FROM wanted);
