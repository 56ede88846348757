package lab

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	serverLink   = "uplink0"
	internetLink = "server0"
)

// A new namespace may inherit the machine's settings (of a Docker host, for
// instance); a lab is the same everywhere.
var sysctls = []struct{ path, value string }{
	{"/proc/sys/net/ipv4/ip_forward", "0"},
	{"/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"},
	{"/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"},
}

// What the internet has no business to know, but sends to the server.
var privateRanges = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}

// connect makes both namespaces and joins them. No link is ever in the
// namespace of the caller: the pair is made in its two places at once.
func connect(server, internet Namespace) error {
	for _, n := range []Namespace{server, internet} {
		if err := n.make(); err != nil {
			return fmt.Errorf("cannot make the network namespace of the %s: %w", n.name, err)
		}
	}
	peer, err := netns.GetFromPath(internet.path)
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := server.withLinks(func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = serverLink
		if err := h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: internetLink, PeerNamespace: netlink.NsFd(int(peer))}); err != nil {
			return fmt.Errorf("cannot make the link between server and internet: %w", err)
		}
		if err := setUp(h, serverLink, ServerAddr+"/24"); err != nil {
			return err
		}
		return h.RouteAdd(&netlink.Route{Gw: net.ParseIP(InternetAddr)})
	}); err != nil {
		return fmt.Errorf("cannot connect the server: %w", err)
	}
	if err := internet.withLinks(func(h *netlink.Handle) error {
		if err := setUp(h, internetLink, InternetAddr+"/24"); err != nil {
			return err
		}
		if err := setUp(h, "lo", EchoAddr+"/32"); err != nil {
			return err
		}
		for _, cidr := range privateRanges {
			_, dst, err := net.ParseCIDR(cidr)
			if err != nil {
				return err
			}
			if err := h.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(ServerAddr)}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("cannot connect the internet: %w", err)
	}
	return nil
}

// disconnect deletes the link of the server, and with it that of the internet,
// so that nothing that still holds a namespace open can talk.
func disconnect(server Namespace) error {
	if bound, err := isNamespace(server.path); err != nil || !bound {
		return err
	}
	return server.withLinks(func(h *netlink.Handle) error {
		link, err := h.LinkByName(serverLink)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return nil
		}
		if err != nil {
			return err
		}
		return h.LinkDel(link)
	})
}

// make makes the namespace, with its loopback up, and binds it at its path.
func (n Namespace) make() error {
	file, err := os.OpenFile(n.path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	file.Close()

	// In a goroutine, so that a thread that cannot return ends with it.
	done := make(chan error, 1)
	go func() {
		back, err := leave(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
		if err != nil {
			done <- err
			return
		}
		err = n.settle()
		back()
		done <- err
	}()
	if err := <-done; err != nil {
		return err
	}
	return n.withLinks(func(h *netlink.Handle) error { return setUp(h, "lo", "") })
}

// settle prepares the namespace of the thread and binds it.
func (n Namespace) settle() error {
	for _, s := range sysctls {
		err := os.WriteFile(s.path, []byte(s.value), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot set %s to %s: %w", s.path, s.value, err)
		}
	}
	self := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	return unix.Mount(self, n.path, "", unix.MS_BIND, "")
}

// withLinks gives f a netlink handle into the namespace. Only of the route
// family: asking for all fails on kernels that lack one of them.
func (n Namespace) withLinks(f func(*netlink.Handle) error) error {
	ns, err := netns.GetFromPath(n.path)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot open a netlink socket in %s: %w", n.path, err)
	}
	defer h.Close()
	return f(h)
}

// setUp gives a link an address, if there is one, and switches it on.
func setUp(h *netlink.Handle, name, cidr string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if cidr != "" {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if err := h.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("cannot give %s the address %s: %w", name, cidr, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot switch %s on: %w", name, err)
	}
	return nil
}

// isNamespace tells whether a namespace is bound at path; false if there is
// nothing.
func isNamespace(path string) (bool, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return fs.Type == unix.NSFS_MAGIC, nil
}
