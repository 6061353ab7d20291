SELECT uri
FROM skipped_resources
WHERE job_seq = :job_seq AND uri IN (SELECT value FROM json_each(:uris));
