-- A tenant goes on after its own last turn. One with nothing waiting joins at the present turn.
INSERT INTO tenant_turns (tenant_id, priority, turn)
VALUES (
    %(tenant_id)s, %(priority)s,
    coalesce((SELECT t.turn FROM turns AS t WHERE t.priority = %(priority)s), 0) + %(turns)s
)
ON CONFLICT (tenant_id, priority) DO UPDATE
SET turn = CASE
    WHEN %(waits)s::bigint = 1 THEN greatest(tenant_turns.turn + %(turns)s, excluded.turn)
    ELSE excluded.turn
END
RETURNING turn;
