// Package logs is the live log of each app: an append-only file of lines that
// many processes write and the server reads.
//
//	<dir>/<app id>/current.log              the live log
//	<dir>/<app id>/<time of rotation>.log   archives, oldest first by name
//
// Writers are the log writer processes of containers (cmd/atoll-logger) and
// the server itself, for lines of the platform, the router and postdeploy
// hooks. They share nothing but the file: every line is one write with
// O_APPEND, and whoever makes the file too long renames it. The package imports
// nothing of ours.
//
// # Guarantees
//
//   - A Writer never blocks for longer than a write to the disk, and never
//     fails: what cannot be written (disk full, app deleted) is counted, and
//     the count is written when writing works again.
//   - A container writes at most LinesPerMinute lines and BytesPerMinute
//     bytes a minute; one line says that the rest is dropped.
//   - Every line that is written is seen by Follow exactly once, also over a
//     rotation.
//   - Lines of one stream keep their order; between streams and containers
//     the time stamps tell, to within the time that a write takes.
//
// It never interprets the text of a line.
package logs
