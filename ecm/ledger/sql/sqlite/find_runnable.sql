-- Resources a tenant (or anybody) could claim now under the given transforms, and when the next retry is due.
SELECT
    count(DISTINCT CASE WHEN t.run_after <= :now THEN t.resource_id END) AS resources,
    min(CASE WHEN t.run_after > :now THEN t.run_after END) AS next_at
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.state IN ('queued', 'retry_queued')
    AND s.transform IN (SELECT value FROM json_each(:transforms))
    AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id);
