INSERT INTO turns (priority, turn) VALUES (%(priority)s, 0) ON CONFLICT DO NOTHING;
