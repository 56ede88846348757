package platform

import (
	"strings"
	"time"
)

// App is a deployable unit: one source, one image, several process types.
type App struct {
	// ID is "ap-<uuid>"; it never changes, private names are made of it.
	ID string
	// Name is unique on the platform and a DNS label: the public name is
	// <name>.<base domain>.
	Name      string
	ProjectID string
	OwnerID   string
	StackID   string
	Status    AppStatus
	// ReleaseID is the release that runs, "" before the first deployment.
	ReleaseID      string
	ForceHTTPS     bool
	StickySession  bool
	RouterLogs     bool
	CreatedAt      time.Time
	UpdatedAt      time.Time
	LastDeployedAt time.Time
	LastDeployedBy string
}

// AppStatus is what the API shows as the status of an app (FS-10).
type AppStatus string

// The statuses of an app. While it is scaling or restarting no other
// operation on it is accepted (FS-8).
const (
	AppNew        AppStatus = "new"
	AppRunning    AppStatus = "running"
	AppStopped    AppStatus = "stopped"
	AppScaling    AppStatus = "scaling"
	AppRestarting AppStatus = "restarting"
)

// Bounds of an app's name (PJ-9).
const (
	MinAppName = 6
	MaxAppName = 48
)

// reservedAppName is a label of every long private name, so an app of that
// name could have no short ones.
const reservedAppName = "private-network"

// ValidateAppName checks rule PJ-9.
func ValidateAppName(name string) error { return ValidateAppNameAs("name", name) }

// ValidateAppNameAs is ValidateAppName for a request in which the name stands
// in another field.
func ValidateAppNameAs(field, name string) error {
	const rule = "must be 6 to 48 lower-case letters, digits and single hyphens, with no hyphen at either end"
	bad := len(name) < MinAppName || len(name) > MaxAppName ||
		strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") || strings.Contains(name, "--")
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			bad = true
		}
	}
	if bad {
		return Invalid(field, "%s (got %q)", rule, name)
	}
	if name == reservedAppName {
		return Invalid(field, "%q is taken by the long private names; choose another", name)
	}
	return nil
}
