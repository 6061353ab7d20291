UPDATE tasks
SET state = 'running', started_at = %(now)s
WHERE state = 'leased' AND seq = ANY (ARRAY(
    SELECT t.seq
    FROM tasks AS t
    WHERE t.lease_seq = %(lease_seq)s AND t.state = 'leased'
    ORDER BY t.seq
    FOR NO KEY UPDATE
));
