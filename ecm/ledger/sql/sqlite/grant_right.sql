INSERT INTO rights (name, holder, fence, acquired_at, expires_at)
VALUES (:name, :holder, :fence, :now, :expires_at)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, fence = excluded.fence,
    acquired_at = excluded.acquired_at, expires_at = excluded.expires_at;
