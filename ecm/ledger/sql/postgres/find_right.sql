SELECT holder, fence, expires_at FROM rights WHERE name = %(name)s;
