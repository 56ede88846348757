package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Upstreams checks that the resolvers for outside names answer. read finds
// them.
func Upstreams(read func() ([]netip.AddrPort, error)) Check {
	return Check{"upstream DNS", func(ctx context.Context) (string, error) {
		addrs, err := read()
		if err != nil {
			return "", err
		}
		said, failed := make([]string, len(addrs)), make([]bool, len(addrs))
		var wg sync.WaitGroup
		for i, addr := range addrs {
			wg.Go(func() { said[i], failed[i] = tryUpstream(ctx, addr) })
		}
		wg.Wait()
		bad := 0
		for _, f := range failed {
			if f {
				bad++
			}
		}
		text := strings.Join(said, ", ")
		switch bad {
		case 0:
			return text, nil
		case len(addrs):
			return "", fmt.Errorf("%s: containers cannot resolve outside names; name a resolver that works in resolv_conf, or open the way to it (UDP and TCP port 53)", text)
		}
		return "", Warn("%s: outside names resolve, slower at times; take the one that does not work out of resolv_conf", text)
	}}
}

func tryUpstream(ctx context.Context, addr netip.AddrPort) (said string, failed bool) {
	code, took, err := askTimes(ctx, addr, minQuestion, 3, 2*time.Second)
	switch {
	case err != nil:
		return fmt.Sprintf("%s %s", addr.Addr(), trouble(err)), true
	case answerCodes[code] != "":
		return fmt.Sprintf("%s answers with %s", addr.Addr(), answerCodes[code]), true
	}
	return fmt.Sprintf("%s answers in %s", addr.Addr(), took.Round(100*time.Microsecond)), false
}

// Behind reads the resolvers that a stub of systemd-resolved on this machine
// asks, from the file in which it names them, when read finds stubs only: the
// way to a stub says nothing about the way out.
func Behind(read, behind func() ([]netip.AddrPort, error)) func() ([]netip.AddrPort, error) {
	return func() ([]netip.AddrPort, error) {
		addrs, err := read()
		if err != nil || slices.ContainsFunc(addrs, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() }) {
			return addrs, err
		}
		if real, err := behind(); err == nil {
			return real, nil
		}
		return addrs, nil // another stub, which keeps its secret
	}
}

// PathMTU checks that packets of the containers' size get as far as the
// upstream resolvers in one piece. mtu, in bytes, is that of the containers'
// outside interface; setting is what changes it.
func PathMTU(read func() ([]netip.AddrPort, error), mtu int, setting string) Check {
	return Check{"path MTU", func(ctx context.Context) (string, error) {
		addrs, err := read()
		if err != nil {
			return "", err
		}
		// One on the internet first: the way to it is what containers go.
		var far, near []netip.AddrPort
		for _, a := range addrs {
			switch {
			case !a.Addr().Is4() || a.Addr().IsLoopback():
			case a.Addr().IsPrivate():
				near = append(near, a)
			default:
				far = append(far, a)
			}
		}
		for _, addr := range append(far, near...) {
			if _, took, err := askTimes(ctx, addr, minQuestion, 2, time.Second); err == nil {
				return pathTo(ctx, addr, took, mtu, setting)
			}
		}
		return "", Warn("cannot be measured: no upstream resolver answers by IPv4 from beyond this machine; if large answers hang, lower %s", setting)
	}}
}

// pathTo measures the path to a resolver that answers small questions, after
// the time usual.
func pathTo(ctx context.Context, addr netip.AddrPort, usual time.Duration, mtu int, setting string) (string, error) {
	// The whole size gets more time: that it does not fit must be no accident.
	_, _, err := askTimes(ctx, addr, mtu-headersIPv4, 3, time.Second)
	if err == nil {
		return whole(addr.Addr(), mtu, setting), nil
	}
	patience := min(max(4*usual, 500*time.Millisecond), time.Second)
	told := errors.Is(err, errTooBig)
	low, high := minQuestion+headersIPv4, mtu // low fits, high does not
	for high-low > 1 && ctx.Err() == nil {
		size := (low + high) / 2
		// The sizes of real links first: most measurements end at once.
		for _, common := range []int{1280, 1492, 1450, 1420, 1400} {
			if low < common && common < high {
				size = common
				break
			}
		}
		if _, _, err := askTimes(ctx, addr, size-headersIPv4, 2, patience); err == nil {
			low = size
		} else {
			high = size
		}
	}
	if ctx.Err() != nil {
		return "", Warn("cannot be measured in time: %s answers questions of %d bytes and not of %d; if large answers hang, lower %s", addr.Addr(), low, mtu, setting)
	}
	if told {
		return "", Warn("%d bytes are the most on the way to %s, containers send up to %d: set %s to %d, so that nothing depends on ICMP messages coming back", low, addr.Addr(), mtu, setting, low)
	}
	return "", Warn("packets of more than %d bytes vanish on the way to %s, while containers send up to %d, so large requests hang: set %s to %d, or raise the MTU of the way (unless that resolver only ignores large questions)", low, addr.Addr(), mtu, setting, low)
}

// whole tells that all fit, and how far that was seen.
func whole(addr netip.Addr, mtu int, setting string) string {
	found := fmt.Sprintf("%d bytes to %s in one piece", mtu, addr)
	if addr.IsPrivate() {
		// A router, say: the link that takes less is behind it.
		found += fmt.Sprintf(", which is near: the way beyond it was not measured; if large answers hang, lower %s", setting)
	}
	return found
}
