-- What lies in the schema: whether a ledger, and how many relations of any kind.
SELECT
    coalesce(bool_or(c.relname = 'ecm_ledger'), false) AS ledger,
    count(*) AS relations
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S');
