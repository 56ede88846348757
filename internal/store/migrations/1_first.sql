CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE users (
  id            TEXT PRIMARY KEY,
  username      TEXT NOT NULL UNIQUE COLLATE NOCASE,
  email         TEXT NOT NULL UNIQUE COLLATE NOCASE,
  fullname      TEXT NOT NULL DEFAULT '',
  password_hash TEXT NOT NULL DEFAULT '',
  admin         INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
  id           TEXT PRIMARY KEY,
  user_id      TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name         TEXT NOT NULL,
  hash         BLOB NOT NULL UNIQUE,
  created_at   INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- network_key is AUTOINCREMENT: the number of a deleted network must never
-- come back while some kernel map still knows it.
CREATE TABLE networks (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id  TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE projects (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  owner_id    TEXT NOT NULL REFERENCES users(id),
  is_default  INTEGER NOT NULL DEFAULT 0,
  network_key INTEGER NOT NULL UNIQUE REFERENCES networks(key),
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  UNIQUE (owner_id, name)
) STRICT;
CREATE UNIQUE INDEX projects_one_default ON projects(owner_id) WHERE is_default = 1;

CREATE TABLE stacks (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL,
  base_image  TEXT NOT NULL,
  is_default  INTEGER NOT NULL DEFAULT 0,
  created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE apps (
  id               TEXT PRIMARY KEY,
  name             TEXT NOT NULL UNIQUE,
  project_id       TEXT NOT NULL REFERENCES projects(id),
  owner_id         TEXT NOT NULL REFERENCES users(id),
  stack_id         TEXT NOT NULL REFERENCES stacks(id),
  status           TEXT NOT NULL,
  release_id       TEXT NOT NULL DEFAULT '',
  generation       INTEGER NOT NULL DEFAULT 0,
  force_https      INTEGER NOT NULL DEFAULT 0,
  sticky_session   INTEGER NOT NULL DEFAULT 0,
  router_logs      INTEGER NOT NULL DEFAULT 0,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  last_deployed_at INTEGER NOT NULL DEFAULT 0,
  last_deployed_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX apps_project ON apps(project_id);

CREATE TABLE process_types (
  app_id     TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  amount     INTEGER NOT NULL,
  size       TEXT NOT NULL,
  command    TEXT NOT NULL DEFAULT '',
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (app_id, name)
) STRICT;

CREATE TABLE variables (
  id     TEXT PRIMARY KEY,
  app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  name   TEXT NOT NULL,
  value  TEXT NOT NULL,
  UNIQUE (app_id, name)
) STRICT;

CREATE TABLE releases (
  id            TEXT PRIMARY KEY,
  app_id        TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  deployment_id TEXT NOT NULL,
  image         TEXT NOT NULL,
  image_size    INTEGER NOT NULL,
  version       TEXT NOT NULL,
  commands      TEXT NOT NULL,
  created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX releases_app ON releases(app_id, created_at);

CREATE TABLE deployments (
  id          TEXT PRIMARY KEY,
  app_id      TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  status      TEXT NOT NULL,
  git_ref     TEXT NOT NULL DEFAULT '',
  source_id   TEXT NOT NULL DEFAULT '',
  pusher_id   TEXT NOT NULL,
  image       TEXT NOT NULL DEFAULT '',
  image_size  INTEGER NOT NULL DEFAULT 0,
  error       TEXT NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL,
  finished_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deployments_app ON deployments(app_id, created_at);
CREATE UNIQUE INDEX deployments_one_at_a_time ON deployments(app_id) WHERE finished_at = 0;

CREATE TABLE workloads (
  id         TEXT PRIMARY KEY,
  app_id     TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  type       TEXT NOT NULL,
  generation INTEGER NOT NULL,
  numbers    TEXT NOT NULL,
  active     INTEGER NOT NULL,
  release_id TEXT NOT NULL REFERENCES releases(id),
  command    TEXT NOT NULL,
  size       TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX workloads_app ON workloads(app_id);

CREATE TABLE operations (
  id          TEXT PRIMARY KEY,
  app_id      TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  type        TEXT NOT NULL,
  status      TEXT NOT NULL,
  error       TEXT NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL,
  finished_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Events outlive what they tell of, so they refer to nothing.
CREATE TABLE events (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  id           TEXT NOT NULL UNIQUE,
  type         TEXT NOT NULL,
  user_id      TEXT NOT NULL DEFAULT '',
  project_id   TEXT NOT NULL DEFAULT '',
  project_name TEXT NOT NULL DEFAULT '',
  app_id       TEXT NOT NULL DEFAULT '',
  app_name     TEXT NOT NULL DEFAULT '',
  data         TEXT NOT NULL,
  created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX events_app ON events(app_id, seq);
CREATE INDEX events_user ON events(user_id, seq);
