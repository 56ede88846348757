package privnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// Port is an endpoint as the kernel holds it.
type Port struct {
	ID      string // empty if half made, or if its link is gone
	Link    string // name of the host end; empty if it is gone and only entries are left
	Index   uint32 // of the host end, in the switch namespace
	Network uint32
	Addr    netip.Addr // the zero Addr if it has no port entry
	Group   uint32
	MAC     net.HardwareAddr
	MTU     int
	Up      bool // the host end is up and so is the container's
	Program bool // runs the program of this process
	Member  bool // others of its network find it

	// What the container sent since the endpoint was made, dropped or not.
	SentPackets, SentBytes uint64
}

// List returns what the kernel holds, ordered by network and address: links
// from the switch namespace, the rest from the tables. What Attach or Set
// would repair, it shows as it is.
func (s *Switch) List(ctx context.Context) ([]Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.whole.Lock()
	defer s.whole.Unlock()
	links, err := s.hostEnds()
	if err != nil {
		return nil, err
	}
	entries, err := s.maps.allPorts()
	if err != nil {
		return nil, err
	}
	members, err := s.maps.allMembers()
	if err != nil {
		return nil, err
	}
	var ports []Port
	for _, link := range links {
		index := uint32(link.Attrs().Index)
		p := Port{ID: link.Attrs().Alias, Link: link.Attrs().Name, Index: index, MTU: link.Attrs().MTU}
		p.Up = link.Attrs().RawFlags&(unix.IFF_UP|unix.IFF_LOWER_UP) == unix.IFF_UP|unix.IFF_LOWER_UP
		if stats := link.Attrs().Statistics; stats != nil {
			p.SentPackets, p.SentBytes = stats.RxPackets, stats.RxBytes
		}
		program, err := filterOf(s.links, link)
		if err != nil && s.exists(link) {
			return nil, err
		}
		p.Program = program == s.id
		if entry, ok := entries[index]; ok {
			p.fill(entry, members)
			delete(entries, index)
		}
		ports = append(ports, p)
	}
	for index, entry := range entries {
		p := Port{Index: index}
		p.fill(entry, members)
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), a.Addr.Compare(b.Addr), cmp.Compare(a.Index, b.Index))
	})
	return ports, nil
}

func (p *Port) fill(entry bpf.SwitchPort, members map[bpf.SwitchMemberKey]bpf.SwitchMember) {
	p.Network, p.Addr, p.Group, p.MAC = entry.Network, addrOf(entry.Addr), entry.Group, macOf(entry.Mac)
	member, ok := members[bpf.SwitchMemberKey{Network: entry.Network, Addr: entry.Addr}]
	p.Member = ok && member.Ifindex == p.Index
}

func (s *Switch) hostEnds() ([]netlink.Link, error) { return hostEnds(s.links) }

// exists tells whether a link that was listed is still there.
func (s *Switch) exists(link netlink.Link) bool {
	_, err := s.links.LinkByIndex(link.Attrs().Index)
	return !errors.As(err, new(netlink.LinkNotFoundError))
}

// hostEnds lists the links of a switch namespace that are ours.
func hostEnds(handle *netlink.Handle) ([]netlink.Link, error) {
	links, err := dump(handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list the interfaces of the switch namespace: %w", err)
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool {
		return l.Type() != "veth" || !strings.HasPrefix(l.Attrs().Name, hostPrefix)
	}), nil
}
