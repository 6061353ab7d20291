INSERT INTO job_resources (job_seq, resource_id) VALUES (:job_seq, :resource_id);
