-- As good as it can be without waiting: the next claim raises it again.
UPDATE counters
SET value = greatest(value, %(value)s)
WHERE name = (
    SELECT c.name
    FROM counters AS c
    WHERE c.name = %(name)s AND c.value < %(value)s
    FOR NO KEY UPDATE SKIP LOCKED
);
