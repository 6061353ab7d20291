SELECT stream_id, retry_policy
FROM streams
WHERE stream_id = ANY (ARRAY(
    SELECT value::bigint FROM json_array_elements_text(%(stream_ids)s::json)
));
