package source

import "fmt"

// Code says which rule an archive or folder breaks.
type Code string

// The codes of an Error.
const (
	// CodeNotGzip: the data is not gzip at all.
	CodeNotGzip Code = "not_gzip"
	// CodeDamaged: cut off, a wrong checksum, or not a tar inside.
	CodeDamaged Code = "damaged"
	// CodeTooLarge: more than Limits.Bytes uncompressed.
	CodeTooLarge Code = "too_large"
	// CodeTooMany: more than Limits.Entries files and folders.
	CodeTooMany Code = "too_many"
	// CodeEmpty: there is nothing to deploy in it.
	CodeEmpty Code = "empty"
	// CodeLayout: not exactly one folder at the root.
	CodeLayout Code = "layout"
	// CodePath: a name that is absolute, climbs with "..", or is too long.
	CodePath Code = "path"
	// CodeDuplicate: two entries claim the same place.
	CodeDuplicate Code = "duplicate"
	// CodeLink: a link that leads out of the folder or nowhere sensible.
	CodeLink Code = "link"
	// CodeSpecial: a device, pipe, socket or other thing that is no file.
	CodeSpecial Code = "special"
	// CodePattern: a line of .slugignore that is not a pattern.
	CodePattern Code = "pattern"
	// CodeNoGit: Pack needs the git program.
	CodeNoGit Code = "no_git"
)

// Error says why an archive or a folder is refused and what to do about it.
// Its text is meant for the user. Any other error of this package is a failure
// of the machine (disk, network), not of the archive.
type Error struct {
	Code    Code
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func refuse(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
