package platform

import "time"

// Refusal is what no rule allowed: all connections of one process type to one
// service of another, since they were first seen.
type Refusal struct {
	// From and To name an app and a type each.
	From, To Party
	// Service is the server's; it need not be known.
	Service Service
	// Verdict is Denied or WouldDeny.
	Verdict Verdict
	// Packets are those of both directions.
	Packets  uint64
	LastSeen time.Time
}

// Rule returns the rule that allows just this, or "" if there is none: see
// Service.Nameable.
func (r Refusal) Rule() string {
	if !r.Service.Nameable() {
		return ""
	}
	return Rule{From: r.From, To: r.To, Service: r.Service}.String()
}

// Stands reports whether the policy as it is now still says so.
func (r Refusal) Stands(p Policy) bool {
	verdict, _ := p.Decide(r.From, r.To, r.Service)
	return verdict == r.Verdict
}

// What a project is told of refusals: the latest ones, for long enough to have
// seen a task that runs once a month.
const (
	MaxRefusals   = 500
	RefusalMemory = 35 * 24 * time.Hour
)
