SELECT * FROM job_chunks WHERE job_seq = :job_seq AND cursor = :cursor;
