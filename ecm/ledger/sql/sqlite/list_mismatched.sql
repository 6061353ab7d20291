SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM streams AS s
CROSS JOIN jobs AS j ON j.job_seq = s.job_seq
CROSS JOIN tasks AS t INDEXED BY tasks_runnable
WHERE s.transform = :transform AND t.stream_id = s.stream_id AND t.state IN ('queued', 'retry_queued')
    AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id)
UNION ALL
SELECT t.seq, t.task_id, t.state, t.attempt, t.fence, t.failures, t.expiries
FROM leases AS l
CROSS JOIN tasks AS t ON t.lease_seq = l.lease_seq
JOIN streams AS s ON s.stream_id = t.stream_id
JOIN jobs AS j ON j.job_seq = s.job_seq
WHERE s.transform = :transform AND t.state = 'leased'
    AND (:tenant_id IS NULL OR j.tenant_id = :tenant_id)
LIMIT :limit;
