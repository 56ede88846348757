package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// reader reads sockets through a netlink socket opened in the network
// namespace, which works from any thread afterwards.
type reader struct {
	handle *nl.SocketHandle
}

// OpenNamespace opens the network namespace at path for looking at its
// sockets. It needs CAP_SYS_ADMIN. The namespace stays alive until Close.
func OpenNamespace(path string) (Namespace, error) {
	var socket *nl.NetlinkSocket
	err := namespace.DoAt(path, func() (err error) {
		socket, err = nl.Subscribe(unix.NETLINK_INET_DIAG)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look into network namespace %s: %w", path, err)
	}
	if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 5}); err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot look into network namespace %s: %w", path, err)
	}
	return &reader{handle: &nl.SocketHandle{Socket: socket}}, nil
}

// Close gives up the hold on the namespace.
func (r *reader) Close() error {
	r.handle.Close()
	return nil
}

// Sockets returns the TCP sockets that listen and the UDP sockets that are
// connected to nobody. The kernel goes through all sockets of the machine
// for it; asking for these states only keeps it from the big table of
// established connections.
func (r *reader) Sockets() ([]Socket, error) {
	var out []Socket
	for _, question := range []struct {
		protocol      string
		family, proto uint8
		state         uint8
	}{
		{"tcp", unix.AF_INET, unix.IPPROTO_TCP, tcpListen},
		{"tcp", unix.AF_INET6, unix.IPPROTO_TCP, tcpListen},
		{"udp", unix.AF_INET, unix.IPPROTO_UDP, tcpClose},
		{"udp", unix.AF_INET6, unix.IPPROTO_UDP, tcpClose},
	} {
		req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: r.handle}
		req.AddRawData(diagRequest(question.family, question.proto, question.state))
		messages, err := req.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
		if errors.Is(err, unix.ENOENT) && question.family == unix.AF_INET6 {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list %s sockets: %w", question.protocol, err)
		}
		for _, m := range messages {
			s, ok, err := parseDiag(m, question.protocol)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// From include/net/tcp_states.h and include/uapi/linux/inet_diag.h; a UDP
// socket that is not connected has the state "close".
const (
	tcpClose  = 7
	tcpListen = 10

	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg
	attrV6Only        = 11 // INET_DIAG_SKV6ONLY
)

// diagRequest asks for all sockets of a family and protocol in one state.
func diagRequest(family, protocol, state uint8) []byte {
	b := make([]byte, sizeofDiagRequest)
	b[0], b[1] = family, protocol
	binary.NativeEndian.PutUint32(b[4:], 1<<state)
	return b
}

// parseDiag reads a struct inet_diag_msg with its attributes. ok is false
// for a socket that nobody can reach over IPv4, and there is no other way
// to a container.
func parseDiag(b []byte, protocol string) (s Socket, ok bool, err error) {
	if len(b) < sizeofDiagMessage {
		return s, false, fmt.Errorf("cannot read a socket of the kernel: %d bytes, at least %d expected", len(b), sizeofDiagMessage)
	}
	s.Protocol = protocol
	s.Port = binary.BigEndian.Uint16(b[4:])
	s.Inode = binary.NativeEndian.Uint32(b[68:])
	switch b[0] {
	case unix.AF_INET:
		s.Addr = netip.AddrFrom4([4]byte(b[8:12]))
	case unix.AF_INET6:
		s.Addr = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		if s.Addr.Is6() && s.Addr.IsUnspecified() && v6Only(b[sizeofDiagMessage:]) {
			return s, false, nil
		}
	default:
		return s, false, fmt.Errorf("cannot read a socket of the kernel: address family %d", b[0])
	}
	return s, s.Port != 0, nil
}

// v6Only finds the attribute that says so.
func v6Only(attrs []byte) bool {
	for len(attrs) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.SizeofRtAttr || size > len(attrs) {
			return false
		}
		if binary.NativeEndian.Uint16(attrs[2:]) == attrV6Only && size > unix.SizeofRtAttr {
			return attrs[unix.SizeofRtAttr] != 0
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
	return false
}
