SELECT t.evidence_key, t.stream_id
FROM batches AS b
CROSS JOIN tasks AS t ON t.batch_seq = b.batch_seq
WHERE b.persisted_as > :after AND b.persisted_as <= :upto
    AND t.state IN ('persisted', 'done') AND t.linked = 0;
