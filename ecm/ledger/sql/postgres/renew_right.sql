UPDATE rights SET expires_at = %(expires_at)s WHERE name = %(name)s AND fence = %(fence)s;
