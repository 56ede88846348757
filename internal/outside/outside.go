package outside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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
	// Prefix is the containers' range, IPv4, /8 to /29; its first address is
	// the gateway.
	Prefix netip.Prefix
	// MTU in bytes; 0 means 1500.
	MTU int
	// Public are TCP sockets of the node that containers may reach like
	// anybody on the internet; 0.0.0.0 stands for all addresses of the node.
	Public []netip.AddrPort
	// AllowPrivate are ranges of private addresses (RFC 1918, 100.64.0.0/10)
	// that containers may reach; nil means none. They must not overlap.
	AllowPrivate []netip.Prefix
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
// which it was opened: its methods work there from any thread. It is safe for
// concurrent use.
type Network struct {
	cfg    Config
	ns     netns.NsHandle
	links  *netlink.Handle
	bridge int

	mu        sync.Mutex
	endpoints map[string]Endpoint
	// installed is each table as nft listed it after we wrote it.
	installed map[string][]string
}

// Open makes the bridge and the rules, or takes over those that are there:
// containers that are connected do not notice. It must run in the node's
// network namespace, which holds one outside network at most. An error that
// names an interface or a range tells the operator what to change. Call Set
// next.
func Open(cfg Config) (*Network, error) {
	cfg.complete()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n, err := here(cfg)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{n.checkConflicts, n.checkOwner, n.leaveFormerRange, n.ensureBridge, n.installRules} {
		if err := step(); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	n.warnOfOthers(context.Background())
	return n, nil
}

// Close releases what the process holds. Bridge, rules and endpoints stay.
func (n *Network) Close() error {
	n.links.Close()
	return n.ns.Close()
}

// Gateway is the node's address on the bridge: route and resolver of all
// containers.
func (n *Network) Gateway() netip.Addr { return n.cfg.Prefix.Addr().Next() }

// Set makes the endpoints of the node exactly these: missing ones are
// attached, others removed, damaged ones, the bridge and the rules repaired. What is in
// order is not interrupted. An endpoint that cannot be connected (its
// namespace is gone, for instance) is left out and named in the error; the
// others are connected all the same.
func (n *Network) Set(ctx context.Context, endpoints []Endpoint) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted, holders := map[string]Endpoint{}, map[netip.Addr]string{}
	for _, e := range endpoints {
		if err := n.check(e); err != nil {
			return err
		}
		if _, twice := wanted[e.ID]; twice {
			return fmt.Errorf("endpoint %s is given twice", e.ID)
		}
		if other, taken := holders[e.Addr]; taken {
			return fmt.Errorf("address %s is given to two containers, %s and %s", e.Addr, other, e.ID)
		}
		wanted[e.ID], holders[e.Addr] = e, e.ID
	}
	// Whatever is missing of the network itself comes first.
	if err := n.ensureBridge(); err != nil {
		return err
	}
	freed, err := n.addressesOfOthers(ctx, holders)
	errs := []error{err, n.removeStrays(wanted)}
	// What could not be listed is not in order.
	ports, err := n.listPorts()
	errs = append(errs, err)
	n.endpoints = map[string]Endpoint{}
	for _, e := range endpoints {
		if len(n.compareEndpoint(ports, e)) == 0 {
			n.endpoints[e.ID] = e
			continue
		}
		if err := n.connect(e); err != nil {
			errs = append(errs, fmt.Errorf("cannot connect container %s to the outside network: %w", e.ID, err))
			if _, err := n.links.LinkByName(hostEnd(e.ID)); isMissing(err) {
				continue
			}
			// Its namespace cannot be opened, but somebody may be in it:
			// what it has is not taken away.
		}
		n.endpoints[e.ID] = e
	}
	errs = append(errs, n.installRulesAndSets(ctx))
	for _, addr := range freed {
		errs = append(errs, n.forgetConnections(addr))
	}
	return errors.Join(errs...)
}

// Attach connects a container. An endpoint that is there already and equal is
// left alone; a half-made one is completed. Another PublicPort takes effect at
// once without interrupting the container.
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
	script := elements("add", e)
	if old, ok := n.endpoints[e.ID]; ok && old != e {
		if old.Addr == e.Addr && old.ContainerNetns == e.ContainerNetns {
			script = forgetPublic(old) + script
		} else if err := n.disconnect(ctx, old); err != nil {
			return err
		}
	}
	// The pin first: a port without one drops everything, so a container is
	// never on the bridge unchecked, and never cut off afterwards.
	if err := n.changeSets(ctx, script); err != nil {
		return fmt.Errorf("cannot let container %s through the firewall: %w", e.ID, err)
	}
	n.endpoints[e.ID] = e
	if err := n.connect(e); err != nil {
		return errors.Join(fmt.Errorf("cannot connect container %s to the outside network: %w", e.ID, err),
			n.disconnect(context.WithoutCancel(ctx), e))
	}
	return nil
}

// Detach disconnects a container. An unknown id is no error. Until it returns
// without an error, which may take another try, the address must not be given
// to another container.
func (n *Network) Detach(ctx context.Context, id string) error {
	n.mu.Lock()
	e, ok := n.endpoints[id]
	if !ok {
		defer n.mu.Unlock()
		return n.deleteLink(hostEnd(id))
	}
	err := n.unplug(ctx, e)
	n.mu.Unlock()
	// Looking through all tracked connections takes long, and others who come
	// and go need not wait for it.
	forgotten := n.forgetConnections(e.Addr)
	if err == nil && forgotten != nil {
		n.mu.Lock()
		n.endpoints[id] = e // for another try
		n.mu.Unlock()
	}
	return errors.Join(err, forgotten)
}

// List returns the endpoints, by address.
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
// network namespace. What is not there is no error. net.ipv4.ip_forward stays
// as it is: others may have come to rely on it.
func Destroy(cfg Config) error {
	cfg.complete()
	n, err := here(cfg)
	if err != nil {
		return err
	}
	return errors.Join(n.removeStrays(nil), n.deleteLink(cfg.Bridge), n.removeRules(context.Background()), n.Close())
}

// Private

// here is a network in the namespace of the calling thread, not opened yet.
func here(cfg Config) (*Network, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("cannot tell the present network namespace: %w", err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot talk to the kernel about interfaces: %w", err), ns.Close())
	}
	return &Network{cfg: cfg, ns: ns, links: h, endpoints: map[string]Endpoint{}}, nil
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
