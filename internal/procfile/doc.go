// Package procfile reads the Procfile of an app: which process types it has
// and how each is started (rules PT-1 to PT-14 of the platform).
//
// It imports nothing of ours, does no I/O beyond the reader it is given, and
// never runs or expands a command. It guarantees that what it returns can be
// used as is: every name is a valid process type, no two names are the same
// private DNS label, and every command is a single non-empty line of text.
package procfile
