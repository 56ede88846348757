package privnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// doomed is the interface group of host ends that are about to be removed. The
// kernel removes a group at once and waits for its readers once, about 20 ms;
// it would wait as long for each by itself.
const doomed = 0x646f6f6d

// removeAll removes endpoints found by their links. One that cannot be removed
// does not keep the others from being.
func (s *Switch) removeAll(links []netlink.Link) (removed []netlink.Link, err error) {
	var failed []error
	var forgotten []netlink.Link
	for _, link := range links {
		if err := s.forgetMember(uint32(link.Attrs().Index)); err != nil {
			failed = append(failed, fmt.Errorf("cannot remove endpoint %s: %w", nameOf(link), err))
			continue
		}
		forgotten = append(forgotten, link)
	}
	if err := deleteLinks(s.ns, s.links, forgotten); err != nil {
		failed = append(failed, err)
	}
	for _, link := range forgotten {
		if s.exists(link) {
			continue
		}
		s.index.Delete(link.Attrs().Alias)
		if err := remove(s.maps.ports, uint32(link.Attrs().Index)); err != nil {
			failed = append(failed, err)
		}
		removed = append(removed, link)
	}
	return removed, errors.Join(failed...)
}

// removalPart is wrong when a process died while it removed the endpoint,
// which is wanted again.
func (s *Switch) removalPart(host netlink.Link) part {
	return part{
		"mark for removal",
		func() (bool, error) { return host.Attrs().Group == doomed, nil },
		func() error { return s.links.LinkSetGroup(host, 0) },
	}
}

// deleteLinks deletes these links of a switch namespace; one that is gone
// already is fine.
func deleteLinks(ns netns.NsHandle, handle *netlink.Handle, links []netlink.Link) error {
	if len(links) > 1 && deleteTogether(ns, handle, links) == nil {
		return nil
	}
	var failed []error
	for _, link := range links {
		if err := handle.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			failed = append(failed, fmt.Errorf("cannot remove the interface of endpoint %s: %w", nameOf(link), err))
		}
	}
	return errors.Join(failed...)
}

// deleteTogether deletes links in one step. On error, some are left.
func deleteTogether(ns netns.NsHandle, handle *netlink.Handle, links []netlink.Link) error {
	ours := make(map[int]bool, len(links))
	for _, link := range links {
		ours[link.Attrs().Index] = true
		if err := handle.LinkSetGroup(link, doomed); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("cannot mark %s for removal: %w", nameOf(link), err)
		}
	}
	// What a process marked that died before it removed it may be wanted.
	all, err := dump(handle.LinkList)
	if err != nil {
		return fmt.Errorf("cannot list the interfaces of the switch namespace: %w", err)
	}
	for _, link := range all {
		if link.Attrs().Group != doomed || ours[link.Attrs().Index] {
			continue
		}
		if err := handle.LinkSetGroup(link, 0); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("cannot keep %s from being removed: %w", nameOf(link), err)
		}
	}
	socket, err := nl.GetNetlinkSocketAt(ns, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	defer socket.Close()
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(doomed)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove %d interfaces at once: %w", len(links), err)
	}
	return nil
}

// removeLinks removes every endpoint of the switch namespace at path.
func removeLinks(path string) error {
	bound, err := namespace.Bound(path)
	if err != nil || !bound {
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
	return deleteLinks(ns, handle, links)
}
