UPDATE jobs
SET state = :state, finished_at = :now
WHERE job_seq = :job_seq AND state IN ('listing', 'listed');
