-- A task that was opened again keeps its place in the table, and has no evidence until it is done.
SELECT t.evidence_key, t.stream_id
FROM evidence AS e
JOIN tasks AS t ON t.seq = e.seq
WHERE t.state IN ('persisted', 'done') AND e.prefix = ANY (ARRAY(
    SELECT ('x' || p)::bit(64)::bigint
    FROM json_array_elements_text(%(prefixes)s::json) AS p
));
