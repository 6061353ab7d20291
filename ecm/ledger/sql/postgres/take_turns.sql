-- A tenant goes on after its own last turn, and one that was away joins at the present turn.
INSERT INTO tenants (tenant_id, turn)
SELECT %(tenant_id)s, value + %(turns)s FROM counters WHERE name = 'turn'
ON CONFLICT (tenant_id) DO UPDATE SET turn = greatest(tenants.turn + %(turns)s, excluded.turn)
RETURNING turn;
