INSERT INTO skipped_resources (job_seq, uri, reason) VALUES (:job_seq, :uri, :reason);
