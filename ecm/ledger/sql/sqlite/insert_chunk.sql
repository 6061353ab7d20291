INSERT INTO job_chunks (job_seq, cursor, queued, reused, dead, filtered, repeated)
VALUES (:job_seq, :cursor, :queued, :reused, :dead, :filtered, :repeated);
