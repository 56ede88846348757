package outside

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/atollhq/atoll/internal/namespace"
)

// Conflict says what on this machine, in the network namespace of the calling
// thread, has the range of a network with this configuration; nil if nothing
// has. It changes nothing. Open refuses to begin with such a conflict.
func Conflict(cfg Config) error {
	cfg.complete()
	if err := cfg.validate(); err != nil {
		return err
	}
	n, err := here(cfg)
	if err != nil {
		return err
	}
	return errors.Join(n.checkConflicts(), n.Close())
}

// HiddenByPrivate names what of the range of private networks this machine has
// for something else, with who has it. Containers cannot reach hosts there: the
// addresses mean other containers to them. The machine itself can.
func HiddenByPrivate(cfg Config) (hidden []string, err error) {
	cfg.complete()
	n, err := here(cfg)
	if err != nil {
		return nil, err
	}
	uses, err := n.uses()
	for _, u := range uses {
		if u.prefix.Overlaps(privatePrefix) {
			hidden = append(hidden, fmt.Sprintf("%s, which %s has", common(u.prefix, privatePrefix), u.by))
		}
	}
	return hidden, errors.Join(err, n.Close())
}

// common is what two ranges that overlap both have: the smaller one.
func common(a, b netip.Prefix) netip.Prefix {
	if a.Bits() < b.Bits() {
		return b
	}
	return a
}

// Probe tries whether the kernel and nft can do what a network needs: bridge,
// rules of the families bridge, arp and ip, sets, address translation. It makes
// such a network in a namespace of its own, which ends with it.
func Probe(cfg Config) error {
	return namespace.DoNew(func() error {
		cfg.Log = slog.New(slog.DiscardHandler)
		n, err := Open(cfg)
		if err != nil {
			return fmt.Errorf("%w; the kernel needs bridges and nftables with connection tracking (CONFIG_BRIDGE, CONFIG_NF_TABLES_BRIDGE, CONFIG_NF_TABLES_ARP, CONFIG_NFT_MASQ, CONFIG_NFT_CT): modprobe bridge nf_tables nft_masq nft_ct, or take a full kernel of the distribution", err)
		}
		return n.Close()
	})
}

// Room says how many containers the outside network has on this machine, in
// the network namespace of the calling thread, and how many it has room for.
// There may be no network yet.
func Room(cfg Config) (used, room int, err error) {
	cfg.complete()
	n, err := here(cfg)
	if err != nil {
		return 0, 0, err
	}
	used, err = n.countPorts()
	return used, maxPorts, errors.Join(err, n.Close())
}

func (n *Network) countPorts() (int, error) {
	bridge, err := n.links.LinkByName(n.cfg.Bridge)
	if isMissing(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot look at the bridge %s: %w", n.cfg.Bridge, err)
	}
	links, err := dump(n.links.LinkList)
	if err != nil {
		return 0, fmt.Errorf("cannot list the interfaces: %w", err)
	}
	ports := 0
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			ports++
		}
	}
	return ports, nil
}
