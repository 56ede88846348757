package namespace

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Links looks at the interfaces of a namespace, from any thread. It sees in
// one question what Settings would need another for.
type Links struct {
	socket *nl.SocketHandle
}

// OpenLinks opens a namespace for Link. Close it when done; it keeps the
// namespace alive until then.
func OpenLinks(ns netns.NsHandle) (*Links, error) {
	socket, err := nl.GetNetlinkSocketAt(ns, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	return &Links{&nl.SocketHandle{Socket: socket}}, nil
}

// Close gives up the hold on the namespace.
func (l *Links) Close() { l.socket.Close() }

// Link looks an interface up, nil if there is none of that name. ipv6 says
// that IPv6 is on there, what disable_ipv6 being 0 says in Settings.
func (l *Links) Link(name string) (link netlink.Link, ipv6 bool, err error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: l.socket}
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	messages, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.ENODEV) {
		return nil, false, nil
	}
	if err == nil && len(messages) != 1 {
		err = fmt.Errorf("the kernel gave %d answers instead of one", len(messages))
	}
	if err != nil {
		return nil, false, fmt.Errorf("cannot look up the interface %s: %w", name, err)
	}
	link, err = netlink.LinkDeserialize(nil, messages[0])
	if err == nil {
		ipv6, err = hasIPv6(messages[0])
	}
	if err != nil {
		return nil, false, fmt.Errorf("cannot read what the kernel says of the interface %s: %w", name, err)
	}
	return link, ipv6, nil
}

// Private

// disableIPv6 is the place of the setting in the kernel's array of them,
// DEVCONF_DISABLE_IPV6 in include/uapi/linux/ipv6.h.
const disableIPv6 = 26

// hasIPv6 reads in a message about a link whether IPv6 is on: it is not where
// the kernel has none, nor on a link too small for it.
func hasIPv6(message []byte) (bool, error) {
	if len(message) < unix.SizeofIfInfomsg {
		return false, fmt.Errorf("a message of %d bytes", len(message))
	}
	value := message[unix.SizeofIfInfomsg:]
	for _, kind := range []uint16{unix.IFLA_AF_SPEC, unix.AF_INET6, unix.IFLA_INET6_CONF} {
		var err error
		if value, err = attribute(value, kind); err != nil || value == nil {
			return false, err
		}
	}
	if len(value) < 4*(disableIPv6+1) {
		return false, fmt.Errorf("its settings of IPv6 are %d bytes", len(value))
	}
	return binary.NativeEndian.Uint32(value[4*disableIPv6:]) == 0, nil
}

// attribute finds a netlink attribute, nil if there is none.
func attribute(all []byte, kind uint16) ([]byte, error) {
	attrs, err := nl.ParseRouteAttr(all)
	if err != nil {
		return nil, err
	}
	for _, a := range attrs {
		if a.Attr.Type&^unix.NLA_F_NESTED == kind {
			return a.Value, nil
		}
	}
	return nil, nil
}
