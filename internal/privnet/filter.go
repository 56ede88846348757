package privnet

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filterName is what `tc filter show dev pn… ingress` says in the switch
// namespace.
const filterName = "atoll-privnet"

// Always the same handle and priority, so that a new program takes the place
// of the old one in a single step.
const (
	filterHandle   = 1
	filterPriority = 1
)

// lacksFilter tells whether the link does not run our program on what the
// container sends.
func (s *Switch) lacksFilter(link netlink.Link) (bool, error) {
	current, err := filterOf(s.links, link)
	return current != s.id, err
}

// filterOf returns the program that a link runs, 0 if none.
func filterOf(handle *netlink.Handle, link netlink.Link) (ebpf.ProgramID, error) {
	filters, err := dump(func() ([]netlink.Filter, error) {
		return handle.FilterList(link, netlink.HANDLE_MIN_INGRESS)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot list the filters of %s: %w", link.Attrs().Name, err)
	}
	for _, f := range filters {
		if atOurPlace(f) {
			return ebpf.ProgramID(f.(*netlink.BpfFilter).Id), nil
		}
	}
	return 0, nil
}

// atOurPlace tells whether a filter of an ingress is where ours is.
func atOurPlace(f netlink.Filter) bool {
	_, ok := f.(*netlink.BpfFilter)
	a := f.Attrs()
	return ok && a.Handle == filterHandle && a.Priority == filterPriority && (a.Chain == nil || *a.Chain == 0)
}

// attachFilter puts the program on the link's ingress by clsact, in place of
// one that is there.
func attachFilter(handle *netlink.Handle, link netlink.Link, program *ebpf.Program) error {
	index := link.Attrs().Index
	err := handle.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("cannot add clsact to %s (the kernel needs CONFIG_NET_SCH_INGRESS): %w", link.Attrs().Name, err)
	}
	err = handle.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index,
			Parent:    netlink.HANDLE_MIN_INGRESS,
			Handle:    filterHandle,
			Priority:  filterPriority,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           program.FD(),
		Name:         filterName,
		DirectAction: true,
	})
	if err != nil {
		return fmt.Errorf("cannot attach the program to %s (the kernel needs CONFIG_NET_CLS_BPF): %w", link.Attrs().Name, err)
	}
	return nil
}
