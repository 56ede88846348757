-- How many pairs of process types the rules of a project stand for while that
-- is more than the network takes, else 0.
ALTER TABLE projects ADD COLUMN policy_pairs INTEGER NOT NULL DEFAULT 0;
