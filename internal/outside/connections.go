package outside

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forgetConnections deletes the node's tracked connections of an address that
// is given up: its next holder must inherit none, nor the rights of one.
func (n *Network) forgetConnections(addr netip.Addr) error {
	// A handle of its own: those of a Network are for interfaces, and a
	// socket of another family is needed here.
	h, err := netlink.NewHandleAt(n.ns, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("cannot look at the tracked connections of %s: %w", addr, err)
	}
	defer h.Close()
	for range 20 {
		// Whoever began it, the address is the source of one direction.
		if _, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, ofAddress(addr)); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot delete the tracked connections of %s: %w", addr, err)
	}
	return nil
}

// addressesOfOthers lists the addresses that the firewall lets send although
// nobody has them any more.
func (n *Network) addressesOfOthers(ctx context.Context, holders map[netip.Addr]string) (others []netip.Addr, err error) {
	l, err := n.listTable(ctx, "bridge")
	if err != nil {
		return nil, err
	}
	for _, element := range l.elements["ports"] {
		addr, err := netip.ParseAddr(element[strings.LastIndexByte(element, ' ')+1:])
		if _, held := holders[addr]; err == nil && !held {
			others = append(others, addr)
		}
	}
	return others, nil
}

// ofAddress matches the connections of an address.
type ofAddress netip.Addr

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (a ofAddress) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	for _, tuple := range []netlink.IPTuple{flow.Forward, flow.Reverse} {
		if from, ok := netip.AddrFromSlice(tuple.SrcIP.To4()); ok && from == netip.Addr(a) {
			return true
		}
	}
	return false
}
