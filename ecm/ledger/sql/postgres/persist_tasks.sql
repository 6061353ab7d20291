UPDATE tasks
SET state = 'persisted', persisted_at = %(now)s
WHERE state = 'reported' AND seq = ANY (ARRAY(
    SELECT t.seq
    FROM tasks AS t
    WHERE t.batch_seq = %(batch_seq)s AND t.state = 'reported'
    ORDER BY t.seq
    FOR NO KEY UPDATE
));
