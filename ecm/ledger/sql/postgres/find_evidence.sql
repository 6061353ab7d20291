SELECT t.evidence_key, t.stream_id
FROM evidence AS e
JOIN tasks AS t ON t.seq = e.seq
WHERE e.prefix = ANY (ARRAY(
    SELECT ('x' || p)::bit(64)::bigint
    FROM json_array_elements_text(%(prefixes)s::json) AS p
));
