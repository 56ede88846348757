package privnet

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Prefix is the range of every private network. It is the same in each of
// them, and known to the program (bpf/switch.c) as well.
var Prefix = netip.MustParsePrefix("10.240.0.0/22")

// Interface is the name of the private interface inside a container.
const Interface = "pn0"

// DefaultMTU is the MTU of an endpoint that names none.
const DefaultMTU = 1500

// Limits of [Endpoint.MTU]: the least that IPv4 hosts must accept, and what a
// packet's length field can say.
const (
	minMTU = 576
	maxMTU = 65535
)

// maxID is what fits into a link's alias, where the kernel keeps the id for us.
const maxID = 255

// Endpoint is one container's place in a private network.
type Endpoint struct {
	// ID names the endpoint; unique on the node. The host end of its veth
	// carries it as its alias, so `ip -d link` in the switch namespace shows it.
	ID string
	// Network is the key of the network; endpoints with the same key reach
	// each other. The caller keeps it stable for a network's life.
	Network uint32
	// Addr is the endpoint's address, of Prefix and unique in its network.
	Addr netip.Addr
	// Group is what rules of a Policy know the endpoint as: the key of an
	// app's process type. 0 is no group; only rules that say "any" match it.
	Group uint32
	// MTU of the interface in bytes; 0 means DefaultMTU.
	MTU int
	// ContainerNetns is the path of the container's network namespace.
	ContainerNetns string
}

// HardwareAddr returns the MAC of the member with this address: locally
// administered, and derived, so that no neighbour's cache can be stale.
func HardwareAddr(addr netip.Addr) net.HardwareAddr {
	a := addr.As4()
	return net.HardwareAddr{0x02, 0xa7, a[0], a[1], a[2], a[3]}
}

func (e Endpoint) mtu() int {
	if e.MTU == 0 {
		return DefaultMTU
	}
	return e.MTU
}

func (e Endpoint) validate() error {
	switch {
	case e.ID == "":
		return errors.New("endpoint has no id")
	case len(e.ID) > maxID:
		return fmt.Errorf("endpoint id %.20q… has %d bytes, at most %d fit", e.ID, len(e.ID), maxID)
	case strings.ContainsAny(e.ID, "\x00\n"):
		return fmt.Errorf("endpoint id %q has a control character in it", e.ID)
	case !assignable(e.Addr):
		return fmt.Errorf("endpoint %s: %s is not an address of a container (%s to %s)", e.ID, e.Addr, FirstAddr, LastAddr)
	case e.mtu() < minMTU || e.mtu() > maxMTU:
		return fmt.Errorf("endpoint %s: MTU %d is not between %d and %d", e.ID, e.MTU, minMTU, maxMTU)
	case !filepath.IsAbs(e.ContainerNetns):
		return fmt.Errorf("endpoint %s: network namespace %q is not an absolute path", e.ID, e.ContainerNetns)
	}
	return nil
}

// hostPrefix marks the host ends in the switch namespace as ours.
const hostPrefix = "pn"

// hostName returns the name of the endpoint's host end. Interface names have
// at most 15 bytes, so it is a digest: 12 characters are 60 bits.
func hostName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hostPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:12])
}

// macWords returns a MAC as the program compares it: three 16-bit words in the
// order they have in memory.
func macWords(mac net.HardwareAddr) (w [3]uint16) {
	for i := range w {
		w[i] = binary.NativeEndian.Uint16(mac[2*i:])
	}
	return w
}

func macOf(w [3]uint16) net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	for i := range w {
		binary.NativeEndian.PutUint16(mac[2*i:], w[i])
	}
	return mac
}

// addrWord returns an IPv4 address as it stands in a packet.
func addrWord(addr netip.Addr) uint32 {
	a := addr.As4()
	return binary.NativeEndian.Uint32(a[:])
}

func addrOf(word uint32) netip.Addr {
	var a [4]byte
	binary.NativeEndian.PutUint32(a[:], word)
	return netip.AddrFrom4(a)
}
