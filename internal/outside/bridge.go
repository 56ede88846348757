package outside

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/internal/namespace"
)

// ensureBridge makes the bridge, or takes over the one that is there.
func (n *Network) ensureBridge() error {
	link, err := n.links.LinkByName(n.cfg.Bridge)
	if isMissing(err) {
		// A MAC of its own: without one a bridge takes those of its ports,
		// and containers would have to learn the gateway's again and again.
		mac := hardwareAddr(n.Gateway())
		err = n.links.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: n.cfg.Bridge, MTU: n.cfg.MTU, HardwareAddr: mac}})
		if err == nil {
			link, err = n.links.LinkByName(n.cfg.Bridge)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot make the bridge %s: %w", n.cfg.Bridge, err)
	}
	if _, ok := link.(*netlink.Bridge); !ok {
		return fmt.Errorf("the interface %s is no bridge: rename it, Atoll needs the name", n.cfg.Bridge)
	}
	n.bridge = link.Attrs().Index
	if link.Attrs().MTU != n.cfg.MTU {
		n.cfg.Log.Info("Changing the MTU of the bridge; containers that run keep theirs", "bridge", n.cfg.Bridge, "mtu", n.cfg.MTU)
		if err := n.links.LinkSetMTU(link, n.cfg.MTU); err != nil {
			return fmt.Errorf("cannot set the MTU of the bridge %s to %d: %w", n.cfg.Bridge, n.cfg.MTU, err)
		}
	}
	// The rules let nothing but this MAC be talked to.
	if mac := hardwareAddr(n.Gateway()); link.Attrs().HardwareAddr.String() != mac.String() {
		if err := n.links.LinkSetHardwareAddr(link, mac); err != nil {
			return fmt.Errorf("cannot give the bridge %s its MAC: %w", n.cfg.Bridge, err)
		}
	}
	if err := n.links.AddrReplace(link, &netlink.Addr{IPNet: n.gatewayNet()}); err != nil {
		return fmt.Errorf("cannot give the bridge %s its address: %w", n.cfg.Bridge, err)
	}
	if err := namespace.Do(n.ns, n.applySettings); err != nil {
		return err
	}
	if err := n.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring the bridge %s up: %w", n.cfg.Bridge, err)
	}
	return nil
}

// leaveFormerRange takes the address of a former range from the bridge,
// unless containers still have addresses of it.
func (n *Network) leaveFormerRange() error {
	bridge, err := n.links.LinkByName(n.cfg.Bridge)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at the bridge %s: %w", n.cfg.Bridge, err)
	}
	n.bridge = bridge.Attrs().Index
	addrs, err := dump(func() ([]netlink.Addr, error) { return n.links.AddrList(bridge, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("cannot list the addresses of the bridge %s: %w", n.cfg.Bridge, err)
	}
	for _, a := range addrs {
		if a.IPNet.String() == n.gatewayNet().String() {
			continue
		}
		connected, err := n.countPorts()
		if err != nil {
			return err
		}
		if connected > 0 {
			return fmt.Errorf("the range of the outside network cannot change to %s while containers are connected to %s: stop them first, or start with the former range (%s has %s)", n.cfg.Prefix, n.cfg.Bridge, n.cfg.Bridge, a.IPNet)
		}
		n.cfg.Log.Info("Removing the address of a former range", "bridge", n.cfg.Bridge, "address", a.IPNet)
		if err := n.links.AddrDel(bridge, &a); err != nil {
			return fmt.Errorf("cannot remove %s from the bridge %s: %w", a.IPNet, n.cfg.Bridge, err)
		}
	}
	return nil
}

// applySettings sets what the network relies on, on a thread of the node.
func (n *Network) applySettings() error {
	var sysctl namespace.Settings
	defer sysctl.Close()
	for _, s := range n.nodeSettings() {
		now, differs := s.differs(&sysctl)
		if !differs {
			continue
		}
		if s.name == forwarding {
			n.cfg.Log.Info("Setting net.ipv4.ip_forward=1: containers reach the outside through this machine", "was", now)
		}
		if err := sysctl.Set(s.name, s.value); err != nil {
			return err
		}
	}
	return nil
}
