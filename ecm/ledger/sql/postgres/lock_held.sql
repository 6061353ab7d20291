-- The tasks of some claims that are still held. Where writers run side by side they stay so.
SELECT t.seq, t.task_id, t.resource_id, t.stream_id, t.state, t.attempt, t.fence, t.batch_seq,
    t.failures, t.expiries, t.asset_id, t.evidence_key, t.deadline_at
FROM tasks AS t
WHERE t.lease_seq = ANY (ARRAY(SELECT l.lease_seq FROM leases AS l))
    AND t.fence = ANY (ARRAY(
        SELECT f::bigint FROM json_array_elements_text(%(fences)s::json) AS f
    ))
ORDER BY t.seq
FOR NO KEY UPDATE;
