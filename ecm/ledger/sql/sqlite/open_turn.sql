INSERT INTO turns (priority, turn) VALUES (:priority, 0) ON CONFLICT DO NOTHING;
