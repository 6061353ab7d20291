UPDATE rights SET expires_at = :expires_at WHERE name = :name AND fence = :fence;
