SELECT * FROM job_chunks WHERE job_seq = %(job_seq)s AND cursor = %(cursor)s;
