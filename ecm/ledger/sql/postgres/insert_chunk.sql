INSERT INTO job_chunks (job_seq, cursor, queued, reused, dead, filtered, repeated)
VALUES (
    %(job_seq)s, %(cursor)s, %(queued)s, %(reused)s, %(dead)s, %(filtered)s, %(repeated)s
);
