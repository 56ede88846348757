package privnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// Report is what Set changed.
type Report struct {
	Attached []string // endpoints that were not there, by id
	Repaired []string // endpoints of which a part was missing or wrong
	Removed  []string // endpoints nobody wants; the interface's name where it had no id
	Entries  int      // table entries whose interface was gone
	Pieces   []Piece  // of the switch itself, restored
}

// Changed says whether Set changed anything.
func (r Report) Changed() bool {
	return len(r.Attached)+len(r.Repaired)+len(r.Removed)+len(r.Pieces)+r.Entries > 0
}

// Set makes the switch hold exactly these endpoints: it attaches what is
// missing, completes what is half made and removes everything else. What the
// switch itself lost, a pin or its namespace's binding, it restores. Call it
// after Open with what runs, and whenever in doubt; it takes no packet from an
// endpoint that is right.
//
// An endpoint that cannot be attached or removed does not keep the others from
// being: the error joins those of all of them, and the report says what was
// done. A list that contradicts itself is refused, and nothing is changed.
func (s *Switch) Set(ctx context.Context, endpoints []Endpoint) (Report, error) {
	var report Report
	wanted, err := byHostName(endpoints)
	if err != nil {
		return report, fmt.Errorf("cannot set the private networks: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return report, err
	}
	s.whole.Lock()
	defer s.whole.Unlock()

	report.Pieces, err = s.restore()
	failed := []error{err}
	links, err := s.hostEnds()
	if err != nil {
		return report, errors.Join(append(failed, err)...)
	}
	// Removals come first, so that an address can change hands.
	var leaving []netlink.Link
	for _, link := range links {
		if e, want := wanted[link.Attrs().Name]; !want || !s.describes(link, e) {
			leaving = append(leaving, link)
		}
	}
	gone, err := s.removeAll(leaving)
	if err != nil {
		failed = append(failed, err)
	}
	moved := make(map[string]bool)
	for _, link := range gone {
		if e, want := wanted[link.Attrs().Name]; want {
			moved[e.ID] = true
			continue
		}
		report.Removed = append(report.Removed, nameOf(link))
		s.log.Info("Removed stray endpoint", "endpoint", nameOf(link), "interface", link.Attrs().Name)
	}
	if links, err = s.hostEnds(); err != nil {
		return report, errors.Join(append(failed, err)...)
	}
	if report.Entries, err = s.prune(links); err != nil {
		failed = append(failed, err)
	}

	for _, e := range endpoints {
		did, err := s.ensure(ctx, e)
		switch {
		case err != nil:
			failed = append(failed, err)
		case did == repaired, moved[e.ID]:
			report.Repaired = append(report.Repaired, e.ID)
		case did == created:
			report.Attached = append(report.Attached, e.ID)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return report, errors.Join(failed...)
}

// byHostName checks a list of endpoints and indexes it by the name of the host
// end.
func byHostName(endpoints []Endpoint) (map[string]Endpoint, error) {
	type place struct {
		network uint32
		addr    netip.Addr
	}
	byName := make(map[string]Endpoint, len(endpoints))
	holders := make(map[place]string, len(endpoints))
	for _, e := range endpoints {
		if err := e.validate(); err != nil {
			return nil, err
		}
		if twin, ok := byName[hostName(e.ID)]; ok {
			return nil, fmt.Errorf("endpoint %s is there twice (or shares its interface name with %s)", e.ID, twin.ID)
		}
		byName[hostName(e.ID)] = e
		at := place{e.Network, e.Addr}
		if other, ok := holders[at]; ok {
			return nil, fmt.Errorf("endpoints %s and %s both want %s in network %d", other, e.ID, e.Addr, e.Network)
		}
		holders[at] = e.ID
	}
	return byName, nil
}

// prune removes the table entries that no link stands behind, and members that
// disagree with their port; it says how many.
func (s *Switch) prune(links []netlink.Link) (removed int, err error) {
	ports, members, err := s.strayEntries(links)
	if err != nil {
		return 0, err
	}
	var failed []error
	for key := range members {
		if err := remove(s.maps.members, key); err != nil {
			failed = append(failed, err)
			continue
		}
		removed++
		s.log.Info("Removed stray member", "network", key.Network, "addr", addrOf(key.Addr))
	}
	for index, port := range ports {
		if err := remove(s.maps.ports, index); err != nil {
			failed = append(failed, err)
			continue
		}
		removed++
		s.log.Info("Removed stray port", "network", port.Network, "addr", addrOf(port.Addr))
	}
	return removed, errors.Join(failed...)
}

// strayEntries returns what prune would remove.
func (s *Switch) strayEntries(links []netlink.Link) (map[uint32]bpf.SwitchPort, map[bpf.SwitchMemberKey]bpf.SwitchMember, error) {
	there := make(map[uint32]bool, len(links))
	for _, link := range links {
		there[uint32(link.Attrs().Index)] = true
	}
	ports, err := s.maps.allPorts()
	if err != nil {
		return nil, nil, err
	}
	members, err := s.maps.allMembers()
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(members, func(key bpf.SwitchMemberKey, member bpf.SwitchMember) bool {
		port, ok := ports[member.Ifindex]
		return ok && there[member.Ifindex] && port.Network == key.Network && port.Addr == key.Addr
	})
	maps.DeleteFunc(ports, func(index uint32, _ bpf.SwitchPort) bool { return there[index] })
	return ports, members, nil
}

func nameOf(link netlink.Link) string {
	if id := link.Attrs().Alias; id != "" {
		return id
	}
	return link.Attrs().Name
}
