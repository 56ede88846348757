-- What policies refused. The switch counts it too, but forgets it under load.
-- Both apps are of one project.
CREATE TABLE refusals (
  from_app  TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  from_type TEXT NOT NULL,
  to_app    TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  to_type   TEXT NOT NULL,
  protocol  INTEGER NOT NULL,
  port      INTEGER NOT NULL,
  verdict   TEXT NOT NULL,
  packets   INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  PRIMARY KEY (from_app, from_type, to_app, to_type, protocol, port, verdict)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusals_to ON refusals(to_app);
