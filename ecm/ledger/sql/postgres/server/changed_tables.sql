-- Tables of the ledger that have changed by a tenth since their statistics were taken.
SELECT relname
FROM pg_catalog.pg_stat_user_tables
WHERE schemaname = %(schema)s AND n_mod_since_analyze > 200 + n_live_tup / 10
ORDER BY relname;
