-- The row stays, under a fence that nobody holds: the next one exceeds every earlier one.
UPDATE rights
SET holder = '', fence = nextval('fences'), expires_at = 0
WHERE name = %(name)s AND fence = %(fence)s;
