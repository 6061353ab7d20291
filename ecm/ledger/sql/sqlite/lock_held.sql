-- The tasks of some claims that are still held. Where writers run side by side they stay so.
SELECT t.seq, t.task_id, t.resource_id, t.stream_id, t.state, t.attempt, t.fence, t.batch_seq,
    t.failures, t.expiries, t.asset_id, t.evidence_key, t.deadline_at
FROM leases AS l
CROSS JOIN json_each(:fences) AS f
CROSS JOIN tasks AS t ON t.lease_seq = l.lease_seq AND t.fence = f.value
WHERE t.lease_seq IS NOT NULL;
