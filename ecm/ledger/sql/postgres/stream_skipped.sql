SELECT uri, reason FROM skipped_resources WHERE job_seq = %(job_seq)s ORDER BY uri;
