-- One listing of a tenant waits for another: what neither knows yet has no row to lock.
SELECT %(tenant_id)s::text AS tenant_id, pg_advisory_xact_lock(
    hashtextextended(current_schema() || ' lists ' || %(tenant_id)s::text, 0)
);
