-- What the node's switch calls the process type of an app. AUTOINCREMENT: the
-- number of a deleted app must never come back while some kernel map, or a
-- container's note, still knows it.
CREATE TABLE endpoint_groups (
  key    INTEGER PRIMARY KEY AUTOINCREMENT,
  app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  type   TEXT NOT NULL,
  UNIQUE (app_id, type)
) STRICT;

ALTER TABLE projects ADD COLUMN policy_mode TEXT NOT NULL DEFAULT 'open';

-- Rules name apps by id, so that renames keep them; NULL is every app, an
-- empty type every type, protocol and port 0 every one.
CREATE TABLE policy_rules (
  id         TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  from_app   TEXT REFERENCES apps(id) ON DELETE CASCADE,
  from_type  TEXT NOT NULL,
  to_app     TEXT REFERENCES apps(id) ON DELETE CASCADE,
  to_type    TEXT NOT NULL,
  protocol   INTEGER NOT NULL,
  port       INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX policy_rules_once ON policy_rules
  (project_id, coalesce(from_app, ''), from_type, coalesce(to_app, ''), to_type, protocol, port);
CREATE INDEX policy_rules_from ON policy_rules(from_app);
CREATE INDEX policy_rules_to ON policy_rules(to_app);
