-- As good as it can be without waiting: the next claim raises it again.
UPDATE turns
SET turn = greatest(turn, %(turn)s)
WHERE priority = (
    SELECT t.priority
    FROM turns AS t
    WHERE t.priority = %(priority)s AND t.turn < %(turn)s
    FOR NO KEY UPDATE SKIP LOCKED
);
