package outside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is the name of the outside interface inside a container.
const Interface = "eth0"

// DefaultBridge is the name of the bridge on the node.
const DefaultBridge = "atoll0"

// Config says what the outside network looks like.
type Config struct {
	// Bridge defaults to DefaultBridge.
	Bridge string
	// Prefix is the containers' range; its first address is the gateway.
	Prefix netip.Prefix
	// MTU in bytes; 0 means 1500.
	MTU int
	// PublicPorts are TCP ports of the node that containers may reach like
	// anybody on the internet; nil means 80 and 443.
	PublicPorts []uint16
	// Log gets a line for each thing changed or repaired; nil means
	// slog.Default().
	Log *slog.Logger
}

// Endpoint is one container's place in the outside network.
type Endpoint struct {
	// ID names the endpoint; the host end of its veth carries it as alias.
	ID string
	// Addr is of Config.Prefix and unique.
	Addr netip.Addr
	// ContainerNetns is the path of the container's network namespace.
	ContainerNetns string
	// PublicPort is the TCP port the node may open connections to; 0 none.
	PublicPort uint16
}

// Network is the outside network of a node, in the network namespace in
// which it was opened. It is safe for concurrent use.
type Network struct {
	cfg    Config
	links  *netlink.Handle
	bridge int

	mu        sync.Mutex
	endpoints map[string]Endpoint
}

// Open makes the bridge and the rules, or takes over those that are there:
// containers that are connected do not notice. It must run in the node's
// network namespace. Call Set next.
func Open(cfg Config) (*Network, error) {
	cfg.complete()
	if !cfg.Prefix.IsValid() || !cfg.Prefix.Addr().Is4() || cfg.Prefix.Bits() > 29 {
		return nil, fmt.Errorf("outside network %s: an IPv4 range of /29 or larger is needed", cfg.Prefix)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot talk to the kernel about interfaces: %w", err)
	}
	n := &Network{cfg: cfg, links: h, endpoints: map[string]Endpoint{}}
	for _, step := range []func() error{n.checkConflicts, n.ensureBridge, n.ensureForwarding, n.installRules} {
		if err := step(); err != nil {
			h.Close()
			return nil, err
		}
	}
	return n, nil
}

// Close releases what the process holds. Bridge, rules and endpoints stay.
func (n *Network) Close() error {
	n.links.Close()
	return nil
}

// Gateway is the node's address on the bridge: route and resolver of all
// containers.
func (n *Network) Gateway() netip.Addr { return n.cfg.Prefix.Addr().Next() }

// Set makes the endpoints of the node exactly these: missing ones are
// attached, others removed, the rules rewritten in one transaction. Those
// that are in order are not touched.
func (n *Network) Set(ctx context.Context, endpoints []Endpoint) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := map[string]Endpoint{}
	for _, e := range endpoints {
		if err := n.check(e); err != nil {
			return err
		}
		wanted[e.ID] = e
	}
	errs := []error{n.removeStrays(wanted)}
	n.endpoints = map[string]Endpoint{}
	for _, e := range endpoints {
		if err := n.connect(e); err != nil {
			errs = append(errs, fmt.Errorf("cannot connect container %s to the outside network: %w", e.ID, err))
			continue
		}
		n.endpoints[e.ID] = e
	}
	errs = append(errs, n.writeSets(ctx))
	return errors.Join(errs...)
}

// Attach connects a container. An endpoint that is there already and equal is
// left alone; a half-made one is completed.
func (n *Network) Attach(ctx context.Context, e Endpoint) error {
	if err := n.check(e); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, other := range n.endpoints {
		if other.Addr == e.Addr && other.ID != e.ID {
			return fmt.Errorf("address %s belongs to container %s already", e.Addr, other.ID)
		}
	}
	if old, ok := n.endpoints[e.ID]; ok && old != e {
		if err := n.disconnect(ctx, old); err != nil {
			return err
		}
	}
	// The pin first: a port without one drops everything, so a container is
	// never on the bridge unchecked, and never cut off afterwards.
	if err := n.addElements(ctx, e); err != nil {
		return err
	}
	if err := n.connect(e); err != nil {
		return errors.Join(fmt.Errorf("cannot connect container %s to the outside network: %w", e.ID, err), n.deleteElements(ctx, e))
	}
	n.endpoints[e.ID] = e
	return nil
}

// Detach disconnects a container. An unknown id is no error.
func (n *Network) Detach(ctx context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.endpoints[id]
	if !ok {
		return n.deleteLink(hostEnd(id))
	}
	return n.disconnect(ctx, e)
}

// List returns the endpoints, by id.
func (n *Network) List() []Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]Endpoint, 0, len(n.endpoints))
	for _, e := range n.endpoints {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
	return out
}

// Destroy removes bridge, endpoints and rules from the calling thread's
// network namespace. What is not there is no error.
func Destroy(cfg Config) error {
	cfg.complete()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot talk to the kernel about interfaces: %w", err)
	}
	n := &Network{cfg: cfg, links: h, endpoints: map[string]Endpoint{}}
	defer n.Close()
	errs := []error{n.removeStrays(nil), n.deleteLink(cfg.Bridge), n.removeRules(context.Background())}
	return errors.Join(errs...)
}

// Private

func (c *Config) complete() {
	if c.Bridge == "" {
		c.Bridge = DefaultBridge
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.PublicPorts == nil {
		c.PublicPorts = []uint16{80, 443}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Prefix = c.Prefix.Masked()
}

func (n *Network) check(e Endpoint) error {
	switch {
	case e.ID == "" || len(e.ID) > 255:
		return fmt.Errorf("an endpoint needs an id of at most 255 bytes (got %q)", e.ID)
	case !n.cfg.Prefix.Contains(e.Addr) || e.Addr == n.cfg.Prefix.Addr() || e.Addr == n.Gateway() || e.Addr == last(n.cfg.Prefix):
		return fmt.Errorf("address %s is none that a container of %s may have", e.Addr, n.cfg.Prefix)
	case e.ContainerNetns == "":
		return fmt.Errorf("endpoint %s has no network namespace", e.ID)
	}
	return nil
}

// checkConflicts refuses a range that the node uses for something else.
func (n *Network) checkConflicts() error {
	links, err := dump(n.links.LinkList)
	if err != nil {
		return fmt.Errorf("cannot list the interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return n.links.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("cannot list the routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || names[r.LinkIndex] == n.cfg.Bridge {
			continue
		}
		ones, _ := r.Dst.Mask.Size()
		addr, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		if ok && ones > 0 && netip.PrefixFrom(addr, ones).Overlaps(n.cfg.Prefix) {
			return fmt.Errorf("the outside network %s overlaps %s, which the interface %s uses: choose another range with --outside-prefix, for instance 172.18.0.0/16", n.cfg.Prefix, r.Dst, names[r.LinkIndex])
		}
	}
	return nil
}

func (n *Network) ensureBridge() error {
	link, err := n.links.LinkByName(n.cfg.Bridge)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
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
	for _, s := range []string{"disable_ipv6"} {
		if err := sysctl("net/ipv6/conf/"+n.cfg.Bridge+"/"+s, "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	gateway := &netlink.Addr{IPNet: &net.IPNet{IP: n.Gateway().AsSlice(), Mask: net.CIDRMask(n.cfg.Prefix.Bits(), 32)}}
	if err := n.links.AddrReplace(link, gateway); err != nil {
		return fmt.Errorf("cannot give the bridge %s its address: %w", n.cfg.Bridge, err)
	}
	if err := n.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring the bridge %s up: %w", n.cfg.Bridge, err)
	}
	return nil
}

// ensureForwarding lets the node route packets of containers out.
func (n *Network) ensureForwarding() error {
	const name = "net/ipv4/ip_forward"
	if now, err := os.ReadFile("/proc/sys/" + name); err == nil && string(now) == "1\n" {
		return nil
	}
	n.cfg.Log.Info("Setting net.ipv4.ip_forward=1: containers reach the outside through this machine")
	return sysctl(name, "1")
}

func sysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
		return fmt.Errorf("cannot set %s to %s: %w", name, value, err)
	}
	return nil
}
