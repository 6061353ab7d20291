-- Writers run one after the other here. Elsewhere one listing of a tenant waits for another.
SELECT tenant_id FROM tenant_turns WHERE tenant_id = :tenant_id LIMIT 1;
