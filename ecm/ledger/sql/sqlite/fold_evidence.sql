-- One slice of the keys of some batches, in the order of the index.
INSERT INTO evidence (prefix, seq)
SELECT substr(t.evidence_key, 1, 16), t.seq
FROM batches AS b
CROSS JOIN tasks AS t ON t.batch_seq = b.batch_seq
WHERE b.persisted_as > :after AND b.persisted_as <= :upto
    AND t.state IN ('persisted', 'done') AND t.linked = 0
    AND t.evidence_key >= :low AND t.evidence_key < :high
ORDER BY 1, 2
ON CONFLICT DO NOTHING;
