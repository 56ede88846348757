package diagnosis

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
)

// Config is what a Doctor works with. All but Policies, Drops and Outside is
// needed.
type Config struct {
	Roster    Roster
	Directory Directory
	Store     Store
	Inside    Inside
	// Policies, Drops and Outside may be nil: what they know is left out then.
	Policies Policies
	Drops    Drops
	Outside  Outside
	// Resolver is whom containers ask for names.
	Resolver netip.AddrPort
}

// Roster is the table of what runs.
type Roster interface {
	Snapshot() ([]platform.Instance, <-chan struct{})
}

// Directory knows all apps.
type Directory interface {
	Snapshot() (map[string]directory.App, <-chan struct{})
}

// Store knows what was wished for.
type Store interface {
	Formation(ctx context.Context, appID string) ([]platform.ProcessType, error)
	ProjectByID(ctx context.Context, id string) (platform.Project, error)
}

// Inside looks and acts from inside the network namespace at a path.
type Inside interface {
	// Lookup asks a resolver for the IPv4 addresses of a name. code is that of
	// the answer, "NOERROR" or "NXDOMAIN" for instance.
	Lookup(ctx context.Context, netns string, resolver netip.AddrPort, name string) (code string, addrs []netip.Addr, err error)
	// Listeners lists the sockets that wait for traffic.
	Listeners(netns string) ([]platform.Listener, error)
	// Way says how packets to addr leave.
	Way(netns string, addr netip.Addr) (Way, error)
	// Try connects by TCP, or sends an empty datagram by UDP and waits a moment
	// for a refusal. The error is what the kernel said.
	Try(ctx context.Context, netns, protocol string, to netip.AddrPort) error
}

// Way is the route to an address.
type Way struct {
	// Link is the name of the interface, Source the address used on it.
	Link   string
	Source netip.Addr
	// Neighbour is what is known of who has the address on that link:
	// "reachable", "failed", ..., or "" before anybody asked.
	Neighbour string
}

// Policies decides about connections between containers of a project.
type Policies interface {
	// Decide says whether a connection passes. rule is the one that lets it,
	// "" when it is by none. warning says what the network does not do of the
	// policy, so that it may be wrong; "" when it does all.
	Decide(ctx context.Context, from, to platform.Instance, protocol string, port uint16) (passes bool, rule, warning string, err error)
}

// Drops counts what the switch did not deliver.
type Drops interface {
	// Between returns how many packets from one private address of a project to
	// another were dropped so far, by reason.
	Between(ctx context.Context, projectID string, from, to netip.Addr) (map[string]uint64, error)
}

// Outside knows the rules of the network of eth0.
type Outside interface {
	// Refusal says why a container may not connect to an address that is in no
	// private network, and what to do; "" when it may.
	Refusal(protocol string, to netip.AddrPort) (why string, err error)
}

// Question asks about a path.
type Question struct {
	// App is the one that asks. Its owner sees the apps in Visible (by id).
	App     platform.App
	Visible map[string]bool
	// Container is a label, "web-1", or a process type: its first container.
	Container string
	// To is a name or an address.
	To string
	// Protocol is "tcp" or "udp".
	Protocol string
	Port     uint16
}

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Warning Outcome = "warning"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Step is one thing that was looked at.
type Step struct {
	Name    string
	Outcome Outcome
	Text    string
}

// Report is the answer to a Question.
type Report struct {
	// From is "app/web-1", To what was asked for, Service "3000/tcp".
	From, To, Service string
	Works             bool
	// Sentence says what is wrong and what to do, or that it works.
	Sentence string
	Steps    []Step
}

// limit is how long a diagnosis may take.
const limit = 20 * time.Second

// Doctor answers questions. Make one with New.
type Doctor struct {
	cfg Config
	// seats bounds how many questions are looked into at the same time.
	seats chan struct{}
}

// New returns a Doctor.
func New(cfg Config) *Doctor { return &Doctor{cfg: cfg, seats: make(chan struct{}, 4)} }

// Diagnose answers a question. The error is a *platform.Error when the
// question is wrong: no such container, no such port.
func (d *Doctor) Diagnose(ctx context.Context, q Question) (Report, error) {
	if err := q.check(); err != nil {
		return Report{}, err
	}
	select {
	case d.seats <- struct{}{}:
		defer func() { <-d.seats }()
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v := &visit{Config: d.cfg, q: q}
	v.rows, _ = d.cfg.Roster.Snapshot()
	v.apps, _ = d.cfg.Directory.Snapshot()
	if err := v.find(); err != nil {
		return Report{}, err
	}
	for _, step := range []func(context.Context) error{v.resolve, v.network, v.policy, v.readiness, v.listeners, v.try} {
		if err := step(ctx); err != nil {
			return Report{}, err
		}
	}
	return v.report(), nil
}

func (q Question) check() error {
	switch {
	case q.Protocol != "tcp" && q.Protocol != "udp":
		return platform.Invalid("protocol", "must be tcp or udp (got %q)", q.Protocol)
	case q.Port == 0:
		return platform.Invalid("port", "must be a number from 1 to 65535")
	case q.To == "" || len(q.To) > 255 || strings.ContainsAny(q.To, " /@?#\\\"'"):
		return platform.Invalid("to", "must be a name or an address, without scheme, path or port (got %q)", q.To)
	}
	if _, err := netip.ParseAddr(q.To); err != nil && strings.Contains(q.To, ":") {
		return platform.Invalid("to", "must be a name or an address; give the port by itself (got %q)", q.To)
	}
	return nil
}

// visit is one question under way.
type visit struct {
	Config
	q    Question
	rows []platform.Instance
	apps map[string]directory.App

	from platform.Instance
	// name is what is asked of the resolver; "" for an address. bare is what
	// was written instead, which is no name. note is said when all works.
	name, bare, note string
	parsed           platform.PrivateName
	isPrivate        bool
	addrs            []netip.Addr
	// app is the one that was meant, and targets its containers, of the type
	// that was meant.
	app     *directory.App
	targets []platform.Instance
	// rule is what the policy lacks to let the connection pass.
	rule string
	// listening counts the targets that were seen to listen.
	listening int

	steps []Step
	cause string
	tried int
	fails int
}

func (v *visit) add(name string, o Outcome, format string, args ...any) {
	v.steps = append(v.steps, Step{name, o, fmt.Sprintf(format, args...)})
}

// blame keeps the first cause: it is the nearest to the container that asks.
func (v *visit) blame(format string, args ...any) {
	if v.cause == "" {
		v.cause = fmt.Sprintf(format, args...)
	}
}

func (v *visit) service() string { return fmt.Sprintf("%d/%s", v.q.Port, v.q.Protocol) }

func (v *visit) report() Report {
	r := Report{From: title(v.from), To: v.q.To, Service: v.service(), Steps: v.steps}
	all := v.tried > 0 && v.fails == 0 && (v.q.Protocol == "tcp" || v.cause == "")
	some := ""
	if 0 < v.fails && v.fails < v.tried {
		some = fmt.Sprintf("at %d of its %d addresses only: %s", v.tried-v.fails, v.tried, sentence(v.cause))
	}
	switch {
	case v.bare != "":
		// The container asks for what was written, and gets nothing.
		which := "fails too: " + sentence(v.cause)
		if all {
			which = "works."
		} else if some != "" {
			which = "works " + some
		}
		r.Sentence = fmt.Sprintf("%s does not reach %s on %s: %s is no name in DNS; write %s, which %s", r.From, r.To, r.Service, v.bare, v.name, which)
	case all:
		r.Works = true
		reaches := "reaches"
		if v.q.Protocol == "udp" && v.listening < v.tried {
			reaches = "may well reach" // nobody answers an empty datagram
		}
		r.Sentence = fmt.Sprintf("%s %s %s on %s: %s%s.", r.From, reaches, r.To, r.Service, v.successes(), v.note)
	case some != "":
		r.Sentence = fmt.Sprintf("%s reaches %s on %s %s", r.From, r.To, r.Service, some)
	default:
		r.Sentence = fmt.Sprintf("%s does not reach %s on %s: %s", r.From, r.To, r.Service, sentence(v.cause))
	}
	return r
}

func (v *visit) successes() string {
	did := "accepts connections"
	if v.q.Protocol == "udp" {
		did = "listens, and the datagram was not refused (UDP tells no more)"
		if v.listening < v.tried {
			did = "was sent a datagram, which was not refused (UDP tells no more)"
		}
	}
	if v.tried == 1 {
		return v.addrs[0].String() + " " + did
	}
	return fmt.Sprintf("each of its %d addresses %s", v.tried, did)
}

// sentence ends a sentence that may be a question.
func sentence(text string) string {
	if strings.HasSuffix(text, "?") {
		return text
	}
	return strings.TrimSuffix(text, ".") + "."
}

// title is "app/web-1".
func title(i platform.Instance) string { return i.AppName + "/" + i.Label() }
