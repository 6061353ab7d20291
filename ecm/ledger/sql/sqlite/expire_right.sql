-- The dead holder stays known, since it did not give the right back.
UPDATE rights SET expires_at = 0 WHERE name = :name AND holder = :holder;
