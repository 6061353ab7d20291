-- A task that was opened again keeps its place in the table, and has no evidence until it is done.
SELECT t.evidence_key, t.stream_id
FROM json_each(:prefixes) AS p
CROSS JOIN evidence AS e ON e.prefix = p.value
CROSS JOIN tasks AS t ON t.seq = e.seq
WHERE t.state IN ('persisted', 'done');
