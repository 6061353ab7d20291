-- Resources of a job with fewer tasks than the job has transforms, and how many they have.
SELECT r.uri, r.identity_key, jr.resource_id, count(t.seq) AS tasks
FROM job_resources AS jr
JOIN resources AS r ON r.resource_id = jr.resource_id
LEFT JOIN tasks AS t
    ON t.resource_id = jr.resource_id
    AND t.stream_id IN (
        SELECT js.stream_id FROM job_streams AS js WHERE js.job_seq = %(job_seq)s
    )
WHERE jr.job_seq = %(job_seq)s
GROUP BY jr.resource_id, r.resource_id
HAVING count(t.seq) < %(transforms)s
ORDER BY jr.resource_id;
