-- Containers that run once. Ended ones are kept for a while: their exit code
-- is asked for after the end, and numbers go on from the highest.
CREATE TABLE one_offs (
  id           TEXT PRIMARY KEY,
  app_id       TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  kind         TEXT NOT NULL,
  number       INTEGER NOT NULL,
  command      TEXT NOT NULL,
  size         TEXT NOT NULL,
  env          TEXT NOT NULL,
  user_id      TEXT NOT NULL DEFAULT '',
  release_id   TEXT NOT NULL DEFAULT '',
  operation_id TEXT NOT NULL DEFAULT '',
  detached     INTEGER NOT NULL,
  task         TEXT NOT NULL DEFAULT '',
  state        TEXT NOT NULL,
  exit_code    INTEGER NOT NULL DEFAULT 0,
  error        TEXT NOT NULL DEFAULT '',
  timed_out    INTEGER NOT NULL DEFAULT 0,
  deadline     INTEGER NOT NULL DEFAULT 0,
  created_at   INTEGER NOT NULL,
  finished_at  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX one_offs_app ON one_offs(app_id, kind, number);
CREATE INDEX one_offs_operation ON one_offs(operation_id) WHERE operation_id != '';
CREATE INDEX one_offs_under_way ON one_offs(finished_at) WHERE finished_at = 0;

-- The scheduled tasks of the present release.
CREATE TABLE jobs (
  id         TEXT PRIMARY KEY,
  app_id     TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  position   INTEGER NOT NULL,
  schedule   TEXT NOT NULL,
  command    TEXT NOT NULL,
  size       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  last_run   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_app ON jobs(app_id, position);

ALTER TABLE deployments ADD COLUMN postdeploy_hook TEXT NOT NULL DEFAULT '';
