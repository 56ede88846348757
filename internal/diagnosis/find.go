package diagnosis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
)

// find finds the container that asks.
func (v *visit) find() error {
	var of, labels []platform.Instance
	for _, i := range v.rows {
		if i.AppID != v.q.App.ID {
			continue
		}
		of = append(of, i)
		if i.Label() == v.q.Container || i.Type == v.q.Container {
			labels = append(labels, i)
		}
	}
	if len(labels) == 0 {
		return platform.NotFound("container", "%s has no container %s; %s", v.q.App.Name, v.q.Container, offer(of))
	}
	v.from = slices.MinFunc(labels, func(a, b platform.Instance) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Number, b.Number), cmp.Compare(b.Generation, a.Generation))
	})
	if v.from.NetnsPath == "" || !v.from.PrivateAddr.IsValid() {
		return &platform.Error{Code: platform.CodeConflict, Message: fmt.Sprintf("%s has no network yet: %s", title(v.from), state(v.from))}
	}
	if v.from.State == platform.InstanceRunning {
		v.add("from", OK, "%s runs and has %s on %s", title(v.from), v.from.PrivateAddr, platform.PrivateInterface)
	} else {
		v.add("from", Warning, "%s has %s on %s, but does not run: %s", title(v.from), v.from.PrivateAddr, platform.PrivateInterface, state(v.from))
	}
	return nil
}

// resolve finds the addresses, as the container would.
func (v *visit) resolve(ctx context.Context) error {
	if addr, err := netip.ParseAddr(v.q.To); err == nil {
		if addr = addr.Unmap(); isItself(addr) {
			v.itself(addr)
			return nil
		}
		v.add("name", Skipped, "%s is an address", addr)
		if !addr.Is4() {
			v.blame("containers have no IPv6: use a name, or an IPv4 address")
			return nil
		}
		v.addrs = []netip.Addr{addr}
		return nil
	}
	if host := strings.ToLower(strings.TrimSuffix(v.q.To, ".")); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		v.itself(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		return nil
	}
	v.name = strings.TrimSuffix(v.q.To, ".")
	code, addrs, err := v.lookup(ctx)
	if full, ok := v.complete(); ok && err == nil && len(addrs) == 0 {
		// What was meant is looked into as well: there may be more to mend.
		v.add("name", Failed, "%s is no name in DNS (%s); what follows is about %s", v.name, code, full)
		v.bare, v.name = v.name, full
		code, addrs, err = v.lookup(ctx)
	}
	switch {
	case err != nil:
		v.add("name", Failed, "the resolver %s gives no answer: %v", v.Resolver.Addr(), err)
		v.blame("its resolver %s does not answer (%v); run atoll doctor on the machine, which says whether a firewall or the server is the reason", v.Resolver.Addr(), cause(err))
		return nil
	case code == "NOERROR" && len(addrs) > 0:
		slices.SortFunc(addrs, netip.Addr.Compare)
		v.addrs = slices.Compact(addrs)
		v.add("name", OK, "%s is %s", v.name, list(v.addrs))
		return nil
	case code == "NOERROR":
		v.add("name", Failed, "%s exists and has no address", v.name)
		return v.explainEmpty(ctx)
	case code == "NXDOMAIN":
		v.add("name", Failed, "%s does not exist (NXDOMAIN)", v.name)
		return v.explainMissing(ctx)
	}
	v.add("name", Failed, "the resolver %s answers with %s", v.Resolver.Addr(), code)
	v.explainCode(code)
	return nil
}

// lookup asks for the name as it is, and finds the app that it means.
func (v *visit) lookup(ctx context.Context) (code string, addrs []netip.Addr, err error) {
	v.isPrivate = platform.InPrivateZone(v.name)
	if v.isPrivate {
		v.parsed, _ = platform.ParsePrivateName(v.name)
		v.app = v.appNamed(v.parsed)
	}
	return v.Inside.Lookup(ctx, v.from.NetnsPath, v.Resolver, v.name+".")
}

// complete reads a name without the zone, "billing" or "api.billing", as what
// must be meant by it. Containers have no search list, so DNS does not.
func (v *visit) complete() (full string, ok bool) {
	if v.isPrivate {
		return "", false
	}
	full = v.name + ".internal"
	n, ok := platform.ParsePrivateName(full)
	return full, ok && n.AppName != "" && v.appNamed(n) != nil
}

// itself is about an address that every container has for itself. It may well
// be what is wanted, so it is tried.
func (v *visit) itself(addr netip.Addr) {
	v.add("name", Skipped, "%s is the container itself", v.q.To)
	v.note = "; that is the container itself: " + otherHint
	if !addr.Is4() {
		v.blame("%s is the container itself: %s", v.q.To, otherHint)
		return
	}
	v.addrs = []netip.Addr{addr}
}

const otherHint = "for another app use its name (atoll names lists them)"

// isItself says whether every container has the address for itself.
func isItself(addr netip.Addr) bool { return addr.IsLoopback() || addr.IsUnspecified() }

// network looks whether both are in one private network, and finds the
// containers that are meant.
func (v *visit) network(ctx context.Context) error {
	if v.app != nil {
		v.targets = v.containersOf(v.app.ID, v.parsed)
		return v.together(ctx)
	}
	if v.isPrivate || len(v.addrs) == 0 || isItself(v.addrs[0]) {
		return nil
	}
	for _, addr := range v.addrs {
		for _, i := range v.rows {
			switch {
			case i.PrivateAddr == addr && i.NetworkID == v.from.NetworkID:
				v.targets = append(v.targets, i)
			case i.OutsideAddr == addr && i.ID != v.from.ID && v.q.Visible[i.AppID]:
				v.add("network", Failed, "%s is on eth0 of %s, not in a private network", addr, title(i))
				v.blame("%s is the outside address (eth0) of %s, and containers never reach each other there; use the name %s.%s.internal", addr, title(i), i.Type, i.AppName)
				return nil
			}
		}
	}
	if len(v.targets) > 0 {
		return v.together(ctx)
	}
	for _, addr := range v.addrs {
		if platform.NetworkPrefix.Contains(addr) {
			v.add("network", Failed, "no container of this private network has %s", addr)
			v.blame("no container of its project has the address %s; addresses change with every new container, so use a name (atoll names lists them)", addr)
			return nil
		}
	}
	return v.outside()
}

// outside looks whether our own rules let the container get to addresses that
// are in no private network. They drop in silence, so a try cannot tell.
func (v *visit) outside() error {
	for _, addr := range v.addrs {
		if v.Outside == nil {
			break
		}
		why, err := v.Outside.Refusal(v.q.Protocol, netip.AddrPortFrom(addr, v.q.Port))
		if err != nil {
			return err
		}
		if why != "" {
			v.add("network", Failed, "%s is not in the private network, and the rules of %s do not let packets to it pass", addr, platform.OutsideInterface)
			v.blame("%s", why)
			return nil
		}
	}
	v.add("network", Skipped, "%s is not in the private network: packets leave by %s", list(v.addrs), platform.OutsideInterface)
	return nil
}

func (v *visit) together(ctx context.Context) error {
	project, err := v.Store.ProjectByID(ctx, v.from.ProjectID)
	if err != nil {
		return err
	}
	v.add("network", OK, "both are in the private network of the project %s", project.Name)
	return nil
}

// Private

// appNamed finds an app of the own network.
func (v *visit) appNamed(n platform.PrivateName) *directory.App {
	for _, a := range v.apps {
		if a.NetworkID != v.from.NetworkID {
			continue
		}
		if n.AppName != "" && strings.EqualFold(a.Name, n.AppName) ||
			n.AppID != "" && strings.EqualFold(a.ID, n.AppID) && strings.EqualFold(a.NetworkID, n.NetworkID) {
			return &a
		}
	}
	return nil
}

// containersOf are the containers that a name is about.
func (v *visit) containersOf(appID string, n platform.PrivateName) []platform.Instance {
	var out []platform.Instance
	for _, i := range v.rows {
		if i.AppID == appID && strings.EqualFold(i.Type, n.ServiceType()) && (n.Number == 0 || n.Number == i.Number) {
			out = append(out, i)
		}
	}
	return out
}

// rank orders containers by how well they stand for their type.
func rank(i platform.Instance) int {
	switch {
	case i.InService():
		return 0
	case i.State == platform.InstanceRunning:
		return 1
	case i.NetnsPath != "":
		return 2
	}
	return 3
}

func offer(of []platform.Instance) string {
	var labels []string
	for _, i := range of {
		labels = append(labels, i.Label())
	}
	if len(labels) == 0 {
		return "nothing of it runs: deploy it or scale it up"
	}
	return "it has: " + strings.Join(slices.Compact(labels), ", ")
}

// cause leaves out what an error says of sockets.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func list[T any](items []T) string {
	const most = 5
	var texts []string
	for i, item := range items {
		if i == most {
			texts = append(texts, fmt.Sprintf("%d more", len(items)-most))
			break
		}
		texts = append(texts, fmt.Sprint(item))
	}
	return strings.Join(texts, ", ")
}
