SELECT pg_advisory_xact_lock(hashtextextended('ecm ledger ' || %(schema)s::text, 0));
