UPDATE jobs
SET cursor = :cursor,
    listed = :listed, listed_digest = :listed_digest,
    filtered = :filtered, filtered_digest = :filtered_digest,
    reused = :reused, reused_digest = :reused_digest,
    reused_keys = :reused_keys, reused_keys_digest = :reused_keys_digest,
    tasks = :tasks, tasks_digest = :tasks_digest
WHERE job_seq = :job_seq;
