-- The dead holder stays known, since it did not give the right back. Its fence is good no more.
UPDATE rights SET fence = 0, expires_at = 0 WHERE name = :name AND holder = :holder;
