UPDATE jobs
SET cursor = %(cursor)s,
    listed = %(listed)s, listed_digest = %(listed_digest)s,
    filtered = %(filtered)s, filtered_digest = %(filtered_digest)s,
    reused = %(reused)s, reused_digest = %(reused_digest)s,
    reused_keys = %(reused_keys)s, reused_keys_digest = %(reused_keys_digest)s,
    tasks = %(tasks)s, tasks_digest = %(tasks_digest)s
WHERE job_seq = %(job_seq)s;
