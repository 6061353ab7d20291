-- Resources a tenant (or anybody) could claim now under the given transforms, and when the next retry is due.
SELECT
    count(DISTINCT CASE WHEN t.run_after <= %(now)s THEN t.resource_id END) AS resources,
    min(CASE WHEN t.run_after > %(now)s THEN t.run_after END) AS next_at
FROM tasks AS t
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE t.runnable
    AND s.transform = ANY (ARRAY(SELECT json_array_elements_text(%(transforms)s::json)))
    AND (%(tenant_id)s::text IS NULL OR j.tenant_id = %(tenant_id)s);
