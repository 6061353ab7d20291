-- No fence given out from now on is below the value.
UPDATE counters SET value = max(value, :value) WHERE name = 'fence' RETURNING value;
