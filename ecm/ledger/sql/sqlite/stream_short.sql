-- Resources of a job with fewer tasks than the job has transforms, and how many they have.
SELECT r.uri, r.identity_key, jr.resource_id, count(t.seq) AS tasks
FROM job_resources AS jr
CROSS JOIN resources AS r ON r.resource_id = jr.resource_id
LEFT JOIN tasks AS t
    ON t.resource_id = jr.resource_id
    AND t.stream_id IN (SELECT stream_id FROM job_streams WHERE job_seq = :job_seq)
WHERE jr.job_seq = :job_seq
GROUP BY jr.resource_id
HAVING count(t.seq) < :transforms
ORDER BY jr.resource_id;
