SELECT uri FROM resources WHERE identity_key = %(identity_key)s AND tenant_id = %(tenant_id)s;
