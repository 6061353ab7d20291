-- Takes a right that is free, expired or the holder's own; no row comes back when it is another's.
-- Sequences are not in order of commits: a fence that is not above the last one is refused as well.
INSERT INTO rights (name, holder, fence, acquired_at, expires_at)
VALUES (%(name)s, %(holder)s, %(fence)s, %(now)s, %(expires_at)s)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, fence = excluded.fence,
    acquired_at = excluded.acquired_at, expires_at = excluded.expires_at
WHERE rights.fence < excluded.fence
    AND (rights.holder = excluded.holder OR rights.expires_at <= excluded.acquired_at)
RETURNING fence;
