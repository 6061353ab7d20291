-- Leases whole resources: first the best runnable tasks of each stream, then the best resources
-- among them that no other claimant is taking, then every runnable task of those resources. Each
-- step walks tasks_runnable, so the cost follows the number of resources claimed and not the length
-- of the queue.
--
-- A resource is taken by locking its row together with one of its tasks: rows locked by others are
-- skipped, and a task that changed after this statement began is seen as it is now. `far` is read
-- only when `near` does not hold enough that nobody else is taking. Sequences are not in order of
-- commits: a task that was claimed under a later fence meanwhile is left alone.
--
-- Rows found by a key are asked for their state and not for `runnable`: statistics taken while
-- nothing was queued make the index of that predicate look like the shortest way to everything.
WITH RECURSIVE
busy (stream_id) AS (
    (SELECT t.stream_id FROM tasks AS t WHERE t.runnable ORDER BY t.stream_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT t.stream_id
        FROM tasks AS t
        WHERE t.runnable AND t.stream_id > busy.stream_id
        ORDER BY t.stream_id
        LIMIT 1
    )
    FROM busy
    WHERE busy.stream_id IS NOT NULL
),
wanted AS MATERIALIZED (
    SELECT s.stream_id
    FROM busy
    JOIN streams AS s ON s.stream_id = busy.stream_id
    JOIN jobs AS j ON j.job_seq = s.job_seq
    WHERE s.transform = ANY (ARRAY(SELECT json_array_elements_text(%(transforms)s::json)))
        AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s)
        AND (%(job_seq)s::bigint IS NULL OR s.stream_id IN (
            SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
        ))
),
near AS MATERIALIZED (
    SELECT c.resource_id, min(c.seq) AS seq
    FROM wanted AS w
    CROSS JOIN LATERAL (
        SELECT q.resource_id, q.priority, q.deadline_at, q.turn, q.seq
        FROM tasks AS q
        WHERE q.runnable
            AND q.stream_id = w.stream_id
            AND q.run_after <= %(now)s
            AND (%(job_seq)s::bigint IS NULL OR (
                SELECT jr.job_seq
                FROM job_resources AS jr
                WHERE jr.job_seq = %(job_seq)s AND jr.resource_id = q.resource_id
            ) IS NOT NULL)
        ORDER BY q.priority DESC, q.deadline_at, q.turn, q.seq
        LIMIT 2 * %(max_resources)s + 64
    ) AS c
    GROUP BY c.resource_id
    ORDER BY max(c.priority) DESC, min(c.deadline_at), min(c.turn), min(c.seq)
),
first AS MATERIALIZED (
    SELECT r.resource_id
    FROM near
    JOIN resources AS r ON r.resource_id = near.resource_id
    JOIN tasks AS q ON q.seq = near.seq
    WHERE q.state IN ('queued', 'retry_queued') AND q.run_after <= %(now)s
    LIMIT %(max_resources)s
    FOR NO KEY UPDATE OF r, q SKIP LOCKED
),
missing AS MATERIALIZED (
    SELECT %(max_resources)s - count(*) AS resources FROM first
),
far AS MATERIALIZED (
    SELECT c.resource_id, min(c.seq) AS seq
    FROM wanted AS w
    CROSS JOIN LATERAL (
        SELECT q.resource_id, q.priority, q.deadline_at, q.turn, q.seq
        FROM tasks AS q
        WHERE q.runnable
            AND q.stream_id = w.stream_id
            AND q.run_after <= %(now)s
            AND (%(job_seq)s::bigint IS NULL OR (
                SELECT jr.job_seq
                FROM job_resources AS jr
                WHERE jr.job_seq = %(job_seq)s AND jr.resource_id = q.resource_id
            ) IS NOT NULL)
        ORDER BY q.priority DESC, q.deadline_at, q.turn, q.seq
        LIMIT 64 * %(max_resources)s
    ) AS c
    WHERE c.resource_id <> ALL (ARRAY(SELECT f.resource_id FROM first AS f))
    GROUP BY c.resource_id
    ORDER BY max(c.priority) DESC, min(c.deadline_at), min(c.turn), min(c.seq)
),
second AS MATERIALIZED (
    SELECT r.resource_id
    FROM far
    JOIN resources AS r ON r.resource_id = far.resource_id
    JOIN tasks AS q ON q.seq = far.seq
    WHERE (SELECT m.resources FROM missing AS m) > 0
        AND q.state IN ('queued', 'retry_queued') AND q.run_after <= %(now)s
    LIMIT (SELECT m.resources FROM missing AS m)
    FOR NO KEY UPDATE OF r, q SKIP LOCKED
),
picked AS MATERIALIZED (
    SELECT resource_id FROM first
    UNION ALL
    SELECT resource_id FROM second
)
UPDATE tasks
SET state = 'leased',
    lease_seq = %(lease_seq)s,
    fence = %(fence)s,
    attempt = attempt + 1,
    leased_at = %(now)s,
    started_at = NULL
WHERE state IN ('queued', 'retry_queued') AND fence < %(fence)s AND seq = ANY (ARRAY(
    SELECT t.seq
    FROM tasks AS t
    WHERE t.resource_id = ANY (ARRAY(SELECT p.resource_id FROM picked AS p))
        AND t.state IN ('queued', 'retry_queued')
        AND t.run_after <= %(now)s
        AND t.stream_id IN (SELECT w.stream_id FROM wanted AS w)
    ORDER BY t.seq
    FOR NO KEY UPDATE OF t
));
