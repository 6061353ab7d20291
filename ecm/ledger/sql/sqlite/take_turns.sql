-- A tenant goes on after its own last turn. One with nothing waiting joins at the present turn.
INSERT INTO tenant_turns (tenant_id, priority, turn)
VALUES (
    :tenant_id, :priority,
    coalesce((SELECT t.turn FROM turns AS t WHERE t.priority = :priority), 0) + :turns
)
ON CONFLICT (tenant_id, priority) DO UPDATE
SET turn = CASE WHEN :waits THEN max(turn + :turns, excluded.turn) ELSE excluded.turn END
RETURNING turn;
