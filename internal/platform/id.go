package platform

import "github.com/google/uuid"

// Identifier prefixes; the part behind the prefix is a random UUID
// (spec api.md section 8).
const (
	prefixApp     = "ap-"
	prefixProject = "prj-"
	prefixNetwork = "pn-"
	prefixUser    = "us-"
	prefixStack   = "st-"
)

// NewAppID returns a fresh id of an app, "ap-<uuid>". It is a DNS label: it
// appears in private names.
func NewAppID() string { return prefixApp + uuid.NewString() }

// NewProjectID returns a fresh id of a project, "prj-<uuid>".
func NewProjectID() string { return prefixProject + uuid.NewString() }

// NewNetworkID returns a fresh id of a private network, "pn-<uuid>".
func NewNetworkID() string { return prefixNetwork + uuid.NewString() }

// NewUserID returns a fresh id of a user, "us-<uuid>".
func NewUserID() string { return prefixUser + uuid.NewString() }

// NewStackID returns a fresh id of a stack, "st-<uuid>".
func NewStackID() string { return prefixStack + uuid.NewString() }

// NewID returns a bare UUID, the id of everything without a prefix of its
// own: deployments, operations, containers, variables, workloads, events.
func NewID() string { return uuid.NewString() }
