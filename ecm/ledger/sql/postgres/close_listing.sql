UPDATE jobs
SET state = 'listed', listed_at = %(now)s
WHERE job_seq = %(job_seq)s AND state = 'listing';
