-- The tasks of some claims that are still held. Where writers run side by side they stay so.
-- No join: with a million tasks the planner would first read them all into a Bloom filter.
SELECT seq, task_id, resource_id, stream_id, state, attempt, fence, batch_seq, failures, expiries,
    asset_id, evidence_key, deadline_at
FROM tasks INDEXED BY tasks_by_lease
WHERE lease_seq IN (SELECT lease_seq FROM leases)
    AND fence IN (SELECT value FROM json_each(:fences));
