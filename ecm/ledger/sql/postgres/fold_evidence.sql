-- One slice of the keys of some batches, in the order of the index.
INSERT INTO evidence (prefix, seq)
SELECT ('x' || substr(t.evidence_key, 1, 16))::bit(64)::bigint, t.seq
FROM batches AS b
JOIN tasks AS t ON t.batch_seq = b.batch_seq
WHERE b.persisted_as > %(after)s AND b.persisted_as <= %(upto)s
    AND t.state IN ('persisted', 'done') AND t.linked = 0
    AND t.evidence_key >= %(low)s AND t.evidence_key < %(high)s
ORDER BY 1, 2
ON CONFLICT DO NOTHING;
