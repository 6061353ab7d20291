-- Takes a right that is free, expired or the holder's own. No row comes back when it is another's.
INSERT INTO rights (name, holder, fence, acquired_at, expires_at)
VALUES (:name, :holder, :fence, :now, :expires_at)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, fence = excluded.fence,
    acquired_at = excluded.acquired_at, expires_at = excluded.expires_at
WHERE rights.holder = excluded.holder OR rights.expires_at <= excluded.acquired_at
RETURNING fence;
