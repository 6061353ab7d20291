UPDATE counters
SET value = value + :by
WHERE name = :name
RETURNING value;
