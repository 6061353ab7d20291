-- A batch that was closed while its first tasks were on their way violates NOT NULL: all is undone.
INSERT INTO batches (batch_id, state, tasks, reported_at)
VALUES (%(batch_id)s, 'reported', %(tasks)s, %(now)s)
ON CONFLICT (batch_id) DO UPDATE
SET tasks = CASE WHEN batches.state = 'reported' THEN batches.tasks + excluded.tasks END;
