-- Tasks a job asked for on resources that were not finished when it listed them, by number and by
-- the order-free digest of their ids, so that a lost row can be named. Null: listed by an older ecm.
ALTER TABLE jobs ADD COLUMN tasks INTEGER DEFAULT 0;

ALTER TABLE jobs ADD COLUMN tasks_digest TEXT DEFAULT '0';

UPDATE jobs SET tasks = NULL, tasks_digest = NULL WHERE listed > 0;
