package platform

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy says who may open connections to whom inside the private network of
// a project.
type Policy struct {
	Mode PolicyMode
	// Rules are the exceptions to a Mode that lets nothing pass. They are
	// kept, and can be prepared, in every mode.
	Rules []Rule
	// Pairs is how many pairs of process types the rules stand for while that
	// is more than the network takes, else 0: see Warning.
	Pairs int
}

// MaxPairs is how many pairs of process types the rules of a project may stand
// for in the network: its tables have room for many times as many, which all
// projects share, and nobody's policy may take the room of the others.
const MaxPairs = 8192

// PairsAdvice is what to do about too many pairs.
const PairsAdvice = "name apps and types where a rule says *, or write * for both of an end"

// Warning says in one sentence what the network does not do of the policy; ""
// when it does all.
func (p Policy) Warning() string {
	if p.Pairs == 0 {
		return ""
	}
	return fmt.Sprintf("the rules stand for %d pairs of process types, and the network takes %d: they do not count for the process types that came last; %s", p.Pairs, MaxPairs, PairsAdvice)
}

// PolicyMode says what happens to a connection that no rule allows.
type PolicyMode string

// The modes of a policy, in the words users know them by.
const (
	// PolicyOpen: everything passes, as if there were no policy (the default).
	PolicyOpen PolicyMode = "open"
	// PolicyDryRun: everything passes; what PolicyDeny would refuse is counted.
	PolicyDryRun PolicyMode = "dry-run"
	// PolicyDeny: only what a rule allows passes.
	PolicyDeny PolicyMode = "deny"
)

// ParsePolicyMode reads a mode as users write it.
func ParsePolicyMode(text string) (PolicyMode, error) {
	switch m := PolicyMode(text); m {
	case PolicyOpen, PolicyDryRun, PolicyDeny:
		return m, nil
	}
	return "", Invalid("mode", "must be open, dry-run or deny (got %q)", text)
}

// MaxRules is how many rules the policy of a project has at most.
const MaxRules = 200

// Rule allows containers of From to open connections to those of To. Answers
// always pass.
type Rule struct {
	// ID is a UUID, "" for a rule that is not stored.
	ID        string
	From, To  Party
	Service   Service
	CreatedAt time.Time
}

// Allows reports whether the rule lets from, a container's party, open
// connections to a service of to.
func (r Rule) Allows(from, to Party, s Service) bool {
	return r.From.covers(from) && r.To.covers(to) && r.Service.covers(s)
}

// Decide says what becomes of a connection, and by which rule; nil when it is
// by none. from and to are parties of containers, s is one port.
func (p Policy) Decide(from, to Party, s Service) (Verdict, *Rule) {
	if i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.Allows(from, to, s) }); i >= 0 {
		return Allowed, &p.Rules[i]
	}
	switch p.Mode {
	case PolicyDeny:
		return Denied, nil
	case PolicyDryRun:
		return WouldDeny, nil
	default:
		return Allowed, nil
	}
}

// Verdict is what the policy said about a conversation.
type Verdict string

// The verdicts.
const (
	Allowed Verdict = "allowed"
	// Denied: its packets were dropped.
	Denied Verdict = "denied"
	// WouldDeny: it passed, because the policy is in PolicyDryRun.
	WouldDeny Verdict = "would-deny"
)

// Party is an end of a rule: the containers of one process type of one app.
type Party struct {
	// AppID is the id of the app, "" for every app of the project. It is not
	// known in a rule that was only parsed.
	AppID string
	// App is its name, "" for every app.
	App string
	// Type is the process type, "" for every one. Containers beside the
	// formation have the types one-off, cron and postdeploy.
	Type string
}

func (p Party) covers(c Party) bool {
	same := p.App == c.App
	if p.AppID != "" && c.AppID != "" {
		same = p.AppID == c.AppID
	}
	return (same || p.AppID == "" && p.App == "") && (p.Type == "" || p.Type == c.Type)
}

// String returns "app:type", with * for every one.
func (p Party) String() string {
	star := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	app := p.App
	if app == "" {
		app = p.AppID
	}
	return star(app) + ":" + star(p.Type)
}

// String returns the rule as ParseRule reads it.
func (r Rule) String() string {
	return strings.Join([]string{r.From.String(), "->", r.To.String(), r.Service.String()}, " ")
}
