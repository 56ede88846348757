package privnet

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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

// complete brings every part of an endpoint to what it should be, and names
// those that were not. The host end comes up last: nothing can be sent before
// the address is claimed and the program there to check it.
func (s *Switch) complete(e Endpoint, host netlink.Link, c *container) (repairs []string, err error) {
	for _, step := range []struct {
		what string
		do   func() (changed bool, err error)
	}{
		{"id", func() (bool, error) { return s.ensureAlias(host, e.ID) }},
		{"MTU of the host end", func() (bool, error) { return s.ensureMTU(host, e.mtu()) }},
		{"port", func() (bool, error) { return s.ensurePort(host, e) }},
		{"member", func() (bool, error) { return s.ensureMember(host, e) }},
		{"program", func() (bool, error) { return s.ensureFilter(host) }},
		{"container's end", func() (bool, error) { return c.ensure(e) }},
		{"host end down", func() (bool, error) { return s.ensureUp(host) }},
	} {
		changed, err := step.do()
		if changed {
			repairs = append(repairs, step.what)
		}
		if err != nil {
			return repairs, err
		}
	}
	return repairs, nil
}

func (s *Switch) ensureAlias(host netlink.Link, id string) (bool, error) {
	s.index.Store(id, uint32(host.Attrs().Index))
	if host.Attrs().Alias == id {
		return false, nil
	}
	if err := s.links.LinkSetAlias(host, id); err != nil {
		return false, fmt.Errorf("cannot note its id at its host end: %w", err)
	}
	return true, nil
}

func (s *Switch) ensureMTU(host netlink.Link, mtu int) (bool, error) {
	if host.Attrs().MTU == mtu {
		return false, nil
	}
	if err := s.links.LinkSetMTU(host, mtu); err != nil {
		return false, fmt.Errorf("cannot set the MTU of its host end to %d: %w", mtu, err)
	}
	return true, nil
}

func (s *Switch) ensureUp(host netlink.Link) (bool, error) {
	if host.Attrs().RawFlags&unix.IFF_UP != 0 {
		return false, nil
	}
	if err := s.links.LinkSetUp(host); err != nil {
		return false, fmt.Errorf("cannot set its host end up: %w", err)
	}
	return true, nil
}

func (s *Switch) ensurePort(host netlink.Link, e Endpoint) (bool, error) {
	want := bpf.SwitchPort{Network: e.Network, Addr: addrWord(e.Addr), Mac: macWords(HardwareAddr(e.Addr)), Group: e.Group}
	index := uint32(host.Attrs().Index)
	var have bpf.SwitchPort
	if err := s.maps.ports.Lookup(index, &have); err == nil && have == want {
		return false, nil
	}
	if err := s.maps.ports.Put(index, want); err != nil {
		return false, fmt.Errorf("cannot enter its port%s: %w", full(err), err)
	}
	return true, nil
}

// ensureMember makes the endpoint the holder of its address. An entry whose
// host end is gone holds nothing.
func (s *Switch) ensureMember(host netlink.Link, e Endpoint) (bool, error) {
	key := bpf.SwitchMemberKey{Network: e.Network, Addr: addrWord(e.Addr)}
	want := bpf.SwitchMember{Ifindex: uint32(host.Attrs().Index), Mac: macWords(HardwareAddr(e.Addr)), Group: e.Group}

	s.claims.Lock()
	defer s.claims.Unlock()
	var have bpf.SwitchMember
	err := s.maps.members.Lookup(key, &have)
	if err == nil && have == want {
		return false, nil
	}
	if err == nil && have.Ifindex != want.Ifindex {
		holder, err := s.links.LinkByIndex(int(have.Ifindex))
		if err == nil {
			return false, fmt.Errorf("%w: endpoint %s has %s in network %d; detach it first, or allocate another address",
				ErrAddressTaken, holder.Attrs().Alias, e.Addr, e.Network)
		}
		if !errors.As(err, new(netlink.LinkNotFoundError)) {
			return false, fmt.Errorf("cannot look up who has %s: %w", e.Addr, err)
		}
	}
	if err := s.maps.members.Put(key, want); err != nil {
		return false, fmt.Errorf("cannot enter it as a member%s: %w", full(err), err)
	}
	return true, nil
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

// removeLinks removes every endpoint of the switch namespace at path.
func removeLinks(path string) error {
	bound, err := isNamespace(path)
	if errors.Is(err, os.ErrNotExist) || (err == nil && !bound) {
		return nil
	}
	if err != nil {
		return err
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("cannot open the switch namespace: %w", err)
	}
	defer ns.Close()
	handle, err := handleAt(ns)
	if err != nil {
		return err
	}
	defer handle.Close()
	links, err := hostEnds(handle)
	if err != nil {
		return err
	}
	for _, link := range links {
		if err := handle.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("cannot remove %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}
