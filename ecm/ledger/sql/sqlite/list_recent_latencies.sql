SELECT t.persisted_at - t.leased_at AS seconds
FROM (
    SELECT batch_seq
    FROM batches
    WHERE persisted_at > :since
    ORDER BY persisted_at DESC
    LIMIT :batches
) AS b
CROSS JOIN tasks AS t ON t.batch_seq = b.batch_seq
ORDER BY seconds;
