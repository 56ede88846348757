// Package source handles the source archives that people deploy: gzip'd tars
// with exactly one folder at the root (BU-3).
//
// Unpack is the server's side and trusts nothing. It guarantees that the
// destination is either the whole content of that folder or untouched, that
// nothing outside it was created, changed or linked to, and that no more than
// the limits was written. Pack is the client's side: it makes such an archive
// of a folder, leaving out what .gitignore and .slugignore name.
// ApplySlugignore removes files after a build.
//
// It imports nothing of ours, runs no program but `git ls-files` (Pack only),
// and never executes or interprets what is in an archive.
package source
