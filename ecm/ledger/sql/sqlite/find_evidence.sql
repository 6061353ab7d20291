SELECT t.evidence_key, t.stream_id
FROM json_each(:prefixes) AS p
CROSS JOIN evidence AS e ON e.prefix = p.value
CROSS JOIN tasks AS t ON t.seq = e.seq;
