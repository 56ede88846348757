package privnet

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// removal removes something from a host end that is not ours.
type removal func() error

// intruderPart is wrong while somebody else's program or filter is at the host
// end: it could let frames pass by ours, or drop them.
func (s *Switch) intruderPart(host netlink.Link) part {
	return part{
		"foreign program or filter",
		func() (bool, error) {
			found, err := s.intruders(host)
			return len(found) > 0, err
		},
		func() error {
			found, err := s.intruders(host)
			if err != nil {
				return err
			}
			for _, remove := range found {
				if err := remove(); err != nil {
					return fmt.Errorf("cannot remove what another program attached to %s, end that program: %w", host.Attrs().Name, err)
				}
			}
			return nil
		},
	}
}

func (s *Switch) intruders(host netlink.Link) ([]removal, error) {
	filters, err := s.foreignFilters(host)
	if err != nil {
		return nil, err
	}
	programs, err := s.foreignTCX(host)
	if err != nil {
		return nil, err
	}
	all := append(filters, programs...)
	if xdp := host.Attrs().Xdp; xdp != nil && xdp.Attached {
		all = append(all, s.foreignXDP(host))
	}
	return all, nil
}

// foreignFilters finds filters of clsact beside ours. Of those with our
// priority, a newer one comes first.
func (s *Switch) foreignFilters(host netlink.Link) (found []removal, err error) {
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := dump(func() ([]netlink.Filter, error) { return s.links.FilterList(host, parent) })
		if err != nil {
			return nil, fmt.Errorf("cannot list the filters of %s: %w", host.Attrs().Name, err)
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok && ebpf.ProgramID(b.Id) == s.id || parent == netlink.HANDLE_MIN_INGRESS && atOurPlace(f) {
				continue // where ours is, lacksFilter looks at the program
			}
			same := &netlink.GenericFilter{FilterAttrs: *f.Attrs(), FilterType: f.Type()}
			same.Parent = parent
			found = append(found, func() error {
				if err := s.links.FilterDel(same); err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
				return nil
			})
		}
	}
	return found, nil
}

// foreignTCX finds programs that the kernel, since Linux 6.6, runs before
// clsact.
func (s *Switch) foreignTCX(host netlink.Link) (found []removal, err error) {
	index := host.Attrs().Index
	err = namespace.Do(s.ns, func() error {
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			result, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at})
			if errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported) {
				return nil // the kernel has no TCX
			}
			if err != nil {
				return fmt.Errorf("cannot list the programs of %s: %w", host.Attrs().Name, err)
			}
			for _, p := range result.Programs {
				found = append(found, func() error { return s.detachTCX(index, at, p) })
			}
		}
		return nil
	})
	return found, err
}

func (s *Switch) detachTCX(index int, at ebpf.AttachType, p link.AttachedProgram) error {
	if id, ok := p.LinkID(); ok {
		l, err := link.NewFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(l.Detach(), l.Close())
	}
	program, err := ebpf.NewProgramFromID(p.ID)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer program.Close()
	return namespace.Do(s.ns, func() error {
		return link.RawDetachProgram(link.RawDetachProgramOptions{Target: index, Program: program, Attach: at})
	})
}

// foreignXDP removes a program that sees frames before all others. It does not
// say in which mode it is.
func (s *Switch) foreignXDP(host netlink.Link) removal {
	return func() error {
		return namespace.Do(s.ns, func() error {
			for _, mode := range []int{unix.XDP_FLAGS_DRV_MODE, unix.XDP_FLAGS_SKB_MODE} {
				if err := netlink.LinkSetXdpFdWithFlags(host, -1, mode); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
