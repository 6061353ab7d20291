-- The dead holder stays known, since it did not give the right back; its fence is good no more.
UPDATE rights
SET fence = nextval('fences'), expires_at = 0
WHERE name = %(name)s AND holder = %(holder)s;
