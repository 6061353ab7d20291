UPDATE jobs
SET state = 'listed', listed_at = :now
WHERE job_seq = :job_seq AND state = 'listing';
