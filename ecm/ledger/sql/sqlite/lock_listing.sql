-- Writers run one after the other here. Elsewhere one listing of a tenant waits for another.
SELECT tenant_id FROM tenants WHERE tenant_id = :tenant_id;
