UPDATE jobs
SET state = %(state)s, finished_at = %(now)s
WHERE job_seq = %(job_seq)s AND state IN ('listing', 'listed');
