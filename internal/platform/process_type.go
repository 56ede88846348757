package platform

import (
	"regexp"
	"time"
)

// The reserved process types (PT-7).
const (
	TypeWeb        = "web"
	TypeTCP        = "tcp"
	TypePostdeploy = "postdeploy"
	// TypeOneOff is the label of one-off containers; with its hyphen it can
	// never be the name of a process type.
	TypeOneOff = "one-off"
	// TypeCron is the label of scheduled tasks. A process type may have this
	// name as well; its containers then come first in names.
	TypeCron = "cron"
)

// Port is the one value of $PORT in every web and tcp container. It is
// fixed and documented so that members of the private network may use it
// too (architecture, decision 9).
const Port = 8080

// IsPublic reports whether containers of the type may be reached from
// outside, on $PORT only. Everything else is private by construction.
func IsPublic(processType string) bool { return processType == TypeWeb || processType == TypeTCP }

var processTypeName = regexp.MustCompile(`^[A-Za-z0-9]{1,24}$`)

// ValidateProcessType checks the name of a process type (PT-4). The name is
// a DNS label of private names.
func ValidateProcessType(name string) error {
	if !processTypeName.MatchString(name) {
		return Invalid("name", "process type %q: use 1 to 24 letters and digits, no dashes or underscores (the name is part of private DNS names)", name)
	}
	return nil
}

// MaxContainersPerType is the ceiling of a formation entry (FS-5), unless the
// operator sets another one; it is never above MaxMembers.
const MaxContainersPerType = 10

// ProcessType is one line of an app's formation.
type ProcessType struct {
	AppID   string
	Name    string
	Amount  int
	Size    string
	Command string
	// UpdatedAt is when amount, size or command last changed.
	UpdatedAt time.Time
}

// DefaultAmount is how many containers a process type has when it first
// appears: one for web, none for all others (PT-9).
func DefaultAmount(processType string) int {
	if processType == TypeWeb {
		return 1
	}
	return 0
}

// Numbers returns the container numbers of n containers: 1 to n.
func Numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}
