SELECT uri
FROM skipped_resources
WHERE job_seq = %(job_seq)s
    AND uri = ANY (ARRAY(SELECT json_array_elements_text(%(uris)s::json)));
