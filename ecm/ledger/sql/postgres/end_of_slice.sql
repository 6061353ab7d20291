SELECT max(resource_id) AS upto
FROM (
    SELECT resource_id
    FROM job_resources
    WHERE job_seq = %(job_seq)s AND resource_id > %(after)s
    ORDER BY resource_id
    LIMIT %(limit)s
) AS slice;
