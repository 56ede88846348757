package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/engine/containerd"
	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/resolver"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/sandbox"
)

// node is the machine's part of the networks.
type node struct {
	private   *privnet.Switch
	outside   *outside.Network
	sandboxes *sandbox.Manager
	resolver  *resolver.Resolver
	gateway   netip.Addr
	// upstreams is where those of the resolver are read from later, "" when it
	// has some.
	upstreams string
}

// openNode opens both networks and the resolver's sockets. Containers that
// are connected stay connected.
func openNode(cfg Config, r *roster.Roster, d *directory.Directory, log *slog.Logger) (_ *node, err error) {
	n := &node{}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	prefix, err := cfg.outsidePrefix()
	if err != nil {
		return nil, err
	}
	mtu, err := cfg.outsideMTU()
	if err != nil {
		return nil, err
	}
	n.gateway = prefix.Addr().Next()
	if err = raiseNeighbourLimits(neighbourSettings, log); err != nil {
		return nil, err
	}
	if n.private, err = privnet.Open(privnet.Config{Netns: filepath.Join(cfg.RunDir, "netns", "switch"), BPFFS: cfg.BPFFS, Log: log}); err != nil {
		return nil, err
	}
	allowed, err := ranges("allow_private", cfg.AllowPrivate)
	if err != nil {
		return nil, err
	}
	public, err := cfg.publicSockets()
	if err != nil {
		return nil, err
	}
	if n.outside, err = outside.Open(outside.Config{Prefix: prefix, MTU: mtu, Public: public, AllowPrivate: allowed, Log: log}); err != nil {
		return nil, err
	}
	if n.sandboxes, err = sandbox.New(sandbox.Config{RunDir: cfg.RunDir, Outside: n.outside, Private: n.private, OutsidePrefix: prefix, Log: log}); err != nil {
		return nil, err
	}
	upstreams, err := resolver.ReadResolvConf(cfg.ResolvConf)
	if err != nil {
		// The names of private networks need none, and after a boot resolv.conf
		// may come later than we.
		log.Error("Only the names of private networks are answered; looking again until there are upstream resolvers", "error", err)
		n.upstreams = cfg.ResolvConf
	}
	n.resolver, err = resolver.New(resolver.Config{
		Listen: []netip.AddrPort{netip.AddrPortFrom(n.gateway, 53)}, Upstreams: upstreams, OutsideNetwork: prefix,
		Roster: r, Directory: d, Log: log,
	})
	return n, err
}

// awaitUpstreams gives the resolver its upstreams as soon as there are some.
func (n *node) awaitUpstreams(ctx context.Context, log *slog.Logger) error {
	for n.upstreams != "" {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		addrs, err := resolver.ReadResolvConf(n.upstreams)
		if err == nil {
			err = n.resolver.SetUpstreams(addrs)
		}
		if err == nil {
			log.Info("Outside names are answered from now on", "upstreams", addrs)
			n.upstreams = ""
		}
	}
	return nil
}

// close releases what the process holds; the networks go on.
func (n *node) close() error {
	var errs []error
	if n.private != nil {
		errs = append(errs, n.private.Close())
	}
	if n.outside != nil {
		errs = append(errs, n.outside.Close())
	}
	return errors.Join(errs...)
}

// resolvConf is /etc/resolv.conf in containers: one nameserver, no search
// list (both are what musl and others trip over). musl waits for timeout in
// all and asks again each timeout/attempts; glibc and Go wait for it at each
// of the attempts. So musl asks at 0, 1.3 and 2.7 s and gives up after 4, the
// others ask at 0, 4 and 8 s: a question that was lost, with a restart of the
// server of 2.6 s too, is asked again by all, and all outwait the 2 s of an
// upstream (a timeout of 3 has musl ask for the last time after 2 s, one of 5
// is longer than others need to wait). More attempts only delay the failure
// that comes of upstreams that are down: on SERVFAIL, too, all ask again.
func (n *node) resolvConf() string {
	return fmt.Sprintf("nameserver %s\noptions ndots:1 timeout:4 attempts:3\n", n.gateway)
}

// containerNetwork connects containers by sandboxes.
type containerNetwork struct {
	*sandbox.Manager
	// accept removes at the start what would be refused.
	accept bool
}

// Setup makes a container's sandbox.
func (c containerNetwork) Setup(ctx context.Context, r containerd.Request) (containerd.Sandbox, error) {
	s, err := c.Manager.Setup(ctx, sandboxRequest(r))
	return containerd.Sandbox{NetnsPath: s.NetnsPath, PrivateAddr: s.PrivateAddr, OutsideAddr: s.OutsideAddr}, noRoom(err)
}

// noRoom tells the engine when a network is full.
func noRoom(err error) error {
	var private *privnet.FullError
	var out *outside.FullError
	switch {
	case errors.As(err, &private):
		return &containerd.NoRoomError{Err: err, Private: true, In: private.Next}
	case errors.As(err, &out):
		return &containerd.NoRoomError{Err: err, In: out.Next}
	}
	return err
}

// Restore keeps the sandboxes of the containers there are and removes others.
func (c containerNetwork) Restore(ctx context.Context, members []containerd.Member) (lost []string, err error) {
	wanted := make([]sandbox.Sandbox, 0, len(members))
	for _, m := range members {
		wanted = append(wanted, sandbox.Sandbox{Request: sandboxRequest(m.Request), PrivateAddr: m.PrivateAddr, OutsideAddr: m.OutsideAddr})
	}
	if err := c.Manager.Restore(ctx, wanted, c.accept); err != nil {
		return nil, err
	}
	connected := map[string]bool{}
	for _, s := range c.List() {
		connected[s.InstanceID] = true
	}
	for _, m := range members {
		if !connected[m.InstanceID] {
			lost = append(lost, m.InstanceID)
		}
	}
	return lost, nil
}

func sandboxRequest(r containerd.Request) sandbox.Request {
	return sandbox.Request{InstanceID: r.InstanceID, Network: r.Network, Private: r.Private, Group: r.Group,
		Outside: r.Outside, PublicPort: r.PublicPort}
}
