package platform

import (
	"regexp"
	"time"
)

// Project groups apps and is the boundary of a private network (PJ-3).
type Project struct {
	ID      string
	Name    string
	Default bool
	OwnerID string
	// Network is the one private network of the project (PN-1).
	Network   PrivateNetwork
	CreatedAt time.Time
	UpdatedAt time.Time
}

// PrivateNetwork is the network of a project. All use the same range,
// NetworkPrefix; Key tells them apart on the machine.
type PrivateNetwork struct {
	// ID is "pn-<uuid>"; it is a label of every private name.
	ID string
	// Key is the number of the network in the node's switch: unique, never
	// reused, at least 1.
	Key uint32
}

// MaxProjects is how many projects an account may own (PJ-4).
const MaxProjects = 20

var projectName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// ValidateProjectName checks rule PJ-2.
func ValidateProjectName(name string) error {
	if !projectName.MatchString(name) {
		return Invalid("name", "must be 1 to 64 characters of a-z, 0-9, - and _ (got %q)", name)
	}
	return nil
}
