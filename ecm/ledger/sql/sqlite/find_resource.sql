SELECT uri FROM resources WHERE identity_key = :identity_key AND tenant_id = :tenant_id;
