package privnet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// ErrAddressTaken says that another endpoint of the network has the address.
var ErrAddressTaken = errors.New("address taken")

// Attach makes the endpoint: pn0 in the container's namespace, its host end in
// the switch namespace, its table entries. When it returns, the endpoint
// reaches the others of its network and they reach it.
//
// Attaching the same endpoint again changes nothing; a half-made one is
// completed; one with another network, address or namespace is replaced. On
// error, what this call made is removed.
func (s *Switch) Attach(ctx context.Context, e Endpoint) error {
	if err := e.validate(); err != nil {
		return fmt.Errorf("cannot attach: %w", err)
	}
	defer s.one(e.ID)()
	_, err := s.ensure(ctx, e)
	return err
}

// Detach removes the endpoint; its container keeps running without pn0. An
// endpoint that is not there is fine.
func (s *Switch) Detach(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer s.one(id)()
	if err := s.detach(id); err != nil {
		return fmt.Errorf("cannot detach endpoint %s: %w", id, err)
	}
	return nil
}

// change is what ensure did to an endpoint.
type change int

const (
	nothing change = iota
	repaired
	created
)

// ensure makes the endpoint as it should be. The caller holds its lock.
func (s *Switch) ensure(ctx context.Context, e Endpoint) (did change, err error) {
	if err := ctx.Err(); err != nil {
		return nothing, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot attach endpoint %s to its private network: %w", e.ID, err)
		}
	}()
	container, err := openContainer(e.ContainerNetns)
	if err != nil {
		return nothing, err
	}
	defer container.close()

	host, err := s.currentHostEnd(e, container)
	if err != nil {
		return nothing, err
	}
	if host == nil {
		if host, err = s.create(e, container); err != nil {
			return nothing, err
		}
		did = created
		defer func() {
			if err != nil {
				err = errors.Join(err, s.detach(e.ID))
			}
		}()
	}
	repairs, err := s.complete(e, host, container)
	if err != nil {
		return did, err
	}
	switch {
	case did == created:
		s.log.Debug("Attached endpoint", "endpoint", e.ID, "network", e.Network, "addr", e.Addr)
	case len(repairs) > 0:
		did = repaired
		s.log.Info("Repaired endpoint", "endpoint", e.ID, "network", e.Network, "addr", e.Addr, "what", repairs)
	}
	return did, nil
}

// currentHostEnd returns the endpoint's host end, nil if it has none. One that
// belongs to another network, address or container is removed.
func (s *Switch) currentHostEnd(e Endpoint, c *container) (netlink.Link, error) {
	host, err := s.links.LinkByName(hostName(e.ID))
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		// Its entries stay behind when a link goes with its container.
		return nil, s.detach(e.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look up its host end: %w", err)
	}
	if alias := host.Attrs().Alias; alias != "" && alias != e.ID {
		return nil, fmt.Errorf("its interface name %s is in use by endpoint %s; give it another id", host.Attrs().Name, alias)
	}
	joined, err := s.leadsInto(host, c)
	if err != nil {
		return nil, err
	}
	if joined && s.describes(host, e) {
		return host, nil
	}
	if !joined {
		if err := c.unoccupied(); err != nil {
			return nil, err
		}
	}
	s.log.Info("Replacing endpoint that has moved", "endpoint", e.ID)
	return nil, s.detach(e.ID)
}

// describes tells whether the tables say of this host end what the endpoint
// asks for, or nothing yet.
func (s *Switch) describes(host netlink.Link, e Endpoint) bool {
	var port bpf.SwitchPort
	err := s.maps.ports.Lookup(uint32(host.Attrs().Index), &port)
	return err != nil || (port.Network == e.Network && port.Addr == addrWord(e.Addr))
}

// leadsInto tells whether the other end of the veth is the container's pn0.
func (s *Switch) leadsInto(host netlink.Link, c *container) (bool, error) {
	inside, err := c.link()
	if err != nil || inside == nil {
		return false, err
	}
	nsid, err := s.links.GetNetNsIdByFd(int(c.ns))
	if err != nil {
		return false, fmt.Errorf("cannot identify the container's network namespace: %w", err)
	}
	return nsid == host.Attrs().NetNsID && inside.Attrs().Index == host.Attrs().ParentIndex &&
		inside.Attrs().ParentIndex == host.Attrs().Index, nil
}

// create makes the veth, each end in its namespace at once, both still down.
func (s *Switch) create(e Endpoint, c *container) (netlink.Link, error) {
	if err := c.unoccupied(); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = hostName(e.ID)
	attrs.MTU = e.mtu()
	// One queue is enough, since nothing queues; the kernel's default is one
	// for each CPU, at both ends.
	attrs.NumTxQueues, attrs.NumRxQueues = 1, 1
	veth := netlink.NewVeth(attrs)
	veth.PeerName = Interface
	veth.PeerNamespace = netlink.NsFd(int(c.ns))
	veth.PeerHardwareAddr = HardwareAddr(e.Addr)
	veth.PeerMTU = uint32(e.mtu())
	veth.PeerNumTxQueues, veth.PeerNumRxQueues = 1, 1
	if err := s.links.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("cannot make its veth: %w", err)
	}
	host, err := s.links.LinkByName(attrs.Name)
	if err != nil {
		return nil, fmt.Errorf("cannot look up its new host end: %w", err)
	}
	return host, nil
}

// part is one thing that an endpoint needs: how to see that it is not as it
// should be, which changes nothing, and how to put it right.
type part struct {
	what  string
	wrong func() (bool, error)
	fix   func() error
}

// parts returns what an endpoint consists of, in the order in which it is made.
// The host end comes up last: nothing can be sent before the address is claimed
// and the program there to check it.
func (s *Switch) parts(e Endpoint, host netlink.Link, c *container) []part {
	return slices.Concat([]part{
		s.idPart(e, host), s.removalPart(host), s.mtuPart(e, host), s.portPart(e, host), s.memberPart(e, host),
		s.intruderPart(host),
		{"program", func() (bool, error) { return s.lacksFilter(host) }, func() error { return attachFilter(s.links, host, s.program) }},
	}, c.parts(e), []part{{
		"host end down",
		func() (bool, error) { return host.Attrs().RawFlags&unix.IFF_UP == 0, nil },
		func() error { return s.links.LinkSetUp(host) },
	}})
}

// complete brings every part of an endpoint to what it should be, and names
// those that were not.
func (s *Switch) complete(e Endpoint, host netlink.Link, c *container) (repairs []string, err error) {
	s.index.Store(e.ID, uint32(host.Attrs().Index))
	for _, p := range s.parts(e, host, c) {
		wrong, err := p.wrong()
		if wrong && err == nil {
			repairs = append(repairs, p.what)
			err = p.fix()
		}
		if err != nil {
			return repairs, fmt.Errorf("cannot set up its %s: %w", p.what, err)
		}
	}
	return repairs, nil
}

func (s *Switch) idPart(e Endpoint, host netlink.Link) part {
	return part{
		"id",
		func() (bool, error) { return host.Attrs().Alias != e.ID, nil },
		func() error { return s.links.LinkSetAlias(host, e.ID) },
	}
}

func (s *Switch) mtuPart(e Endpoint, host netlink.Link) part {
	return part{
		"MTU of the host end",
		func() (bool, error) { return host.Attrs().MTU != e.mtu(), nil },
		func() error { return s.links.LinkSetMTU(host, e.mtu()) },
	}
}

func (s *Switch) portPart(e Endpoint, host netlink.Link) part {
	want := bpf.SwitchPort{Network: e.Network, Addr: addrWord(e.Addr), Mac: macWords(HardwareAddr(e.Addr)), Group: e.Group}
	index := uint32(host.Attrs().Index)
	return part{
		"port",
		func() (bool, error) {
			var have bpf.SwitchPort
			err := s.maps.ports.Lookup(index, &have)
			return err != nil || have != want, nil
		},
		func() error {
			if err := s.maps.ports.Put(index, want); err != nil {
				return fmt.Errorf("cannot enter it%s: %w", full(err), err)
			}
			return nil
		},
	}
}

func (s *Switch) memberPart(e Endpoint, host netlink.Link) part {
	key := bpf.SwitchMemberKey{Network: e.Network, Addr: addrWord(e.Addr)}
	want := bpf.SwitchMember{Ifindex: uint32(host.Attrs().Index), Mac: macWords(HardwareAddr(e.Addr)), Group: e.Group}
	return part{
		"member",
		func() (bool, error) {
			var have bpf.SwitchMember
			err := s.maps.members.Lookup(key, &have)
			return err != nil || have != want, nil
		},
		func() error { return s.claim(key, want) },
	}
}

// claim makes the endpoint the holder of its address. An entry whose host end
// is gone holds nothing.
func (s *Switch) claim(key bpf.SwitchMemberKey, want bpf.SwitchMember) error {
	s.claims.Lock()
	defer s.claims.Unlock()
	var have bpf.SwitchMember
	err := s.maps.members.Lookup(key, &have)
	if err == nil && have.Ifindex != want.Ifindex {
		holder, err := s.links.LinkByIndex(int(have.Ifindex))
		if err == nil {
			return fmt.Errorf("%w: endpoint %s has %s in network %d; detach it first, or allocate another address",
				ErrAddressTaken, holder.Attrs().Alias, addrOf(key.Addr), key.Network)
		}
		if !errors.As(err, new(netlink.LinkNotFoundError)) {
			return fmt.Errorf("cannot look up who has %s: %w", addrOf(key.Addr), err)
		}
	}
	if err := s.maps.members.Put(key, want); err != nil {
		return fmt.Errorf("cannot enter it%s: %w", full(err), err)
	}
	return nil
}

// full explains the error of a table that takes no more entries.
func full(err error) string {
	if errors.Is(err, unix.E2BIG) {
		return " (the node's tables are full: raise MaxMembers)"
	}
	return ""
}

// detach removes what there is of an endpoint. Others stop finding it first;
// its own port entry goes last, when nothing can come from it any more.
func (s *Switch) detach(id string) error {
	host, err := s.links.LinkByName(hostName(id))
	if err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Errorf("cannot look up its host end: %w", err)
	}
	var indices []uint32
	if known, ok := s.index.Load(id); ok {
		indices = append(indices, known.(uint32))
	}
	if err == nil {
		if alias := host.Attrs().Alias; alias != "" && alias != id {
			return nil // the name is another's
		}
		indices = append(indices, uint32(host.Attrs().Index))
	}
	for _, index := range indices {
		if err := s.forgetMember(index); err != nil {
			return err
		}
	}
	if err == nil {
		if err := s.links.LinkDel(host); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("cannot remove its veth: %w", err)
		}
	}
	for _, index := range indices {
		if err := remove(s.maps.ports, index); err != nil {
			return err
		}
	}
	s.index.Delete(id)
	return nil
}

// forgetMember removes the member that a port stands for, if it still is the
// one behind that port.
func (s *Switch) forgetMember(index uint32) error {
	var port bpf.SwitchPort
	if err := s.maps.ports.Lookup(index, &port); errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("cannot read its port: %w", err)
	}
	key := bpf.SwitchMemberKey{Network: port.Network, Addr: port.Addr}

	s.claims.Lock()
	defer s.claims.Unlock()
	var member bpf.SwitchMember
	if err := s.maps.members.Lookup(key, &member); err != nil || member.Ifindex != index {
		return nil
	}
	return remove(s.maps.members, key)
}
