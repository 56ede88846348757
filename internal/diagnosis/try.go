package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/atollhq/atoll/internal/platform"
)

// mostTried bounds the addresses of a name that are tried.
const mostTried = 16

// try connects to every address of the name, and looks what the kernel knows
// of the way then.
func (v *visit) try(ctx context.Context) error {
	if len(v.addrs) == 0 {
		v.add("try", Skipped, "there is no address to try")
		return nil
	}
	v.addrs = v.addrs[:min(len(v.addrs), mostTried)]
	before, err := v.dropped(ctx)
	if err != nil {
		return err
	}
	results := make([]error, len(v.addrs))
	var wg sync.WaitGroup
	for n, addr := range v.addrs {
		wg.Go(func() {
			results[n] = v.Inside.Try(ctx, v.from.NetnsPath, v.q.Protocol, netip.AddrPortFrom(addr, v.q.Port))
		})
	}
	wg.Wait()
	after, err := v.dropped(ctx)
	if err != nil {
		return err
	}
	v.drops(before, after)
	v.way()
	for n, err := range results {
		at := netip.AddrPortFrom(v.addrs[n], v.q.Port)
		v.tried++
		if err == nil {
			v.add("try", OK, "%s %s", at, map[string]string{"tcp": "accepts the connection", "udp": "does not refuse the datagram"}[v.q.Protocol])
			continue
		}
		v.fails++
		v.add("try", Failed, "%s %s", at, said(err))
		v.blameFor(v.addrs[n], err)
	}
	return nil
}

// way looks at route and neighbour of the first address that is another's: to
// its own the kernel goes by lo. The tries have made it ask for the neighbour.
func (v *visit) way() {
	first := slices.IndexFunc(v.addrs, func(a netip.Addr) bool { return a != v.from.PrivateAddr })
	if first < 0 {
		v.add("route", OK, "%s is the container itself", v.from.PrivateAddr)
		return
	}
	addr := v.addrs[first]
	w, err := v.Inside.Way(v.from.NetnsPath, addr)
	if err != nil {
		v.add("route", Failed, "there is no route to %s (%v)", addr, cause(err))
		v.blame("%s has no route to %s; its network is damaged, so restart the container: atoll restart %s -a %s", title(v.from), addr, v.from.Label(), v.from.AppName)
		return
	}
	text := fmt.Sprintf("to %s by %s", addr, w.Link)
	if w.Source.IsValid() {
		text += " from " + w.Source.String()
	}
	private := platform.NetworkPrefix.Contains(addr)
	switch {
	case private && w.Link != platform.PrivateInterface:
		v.add("route", Failed, "%s, and not by %s", text, platform.PrivateInterface)
		v.blame("packets to %s leave by %s and not by %s; the network of %s is damaged, so restart it: atoll restart %s -a %s", addr, w.Link, platform.PrivateInterface, title(v.from), v.from.Label(), v.from.AppName)
	case private && w.Neighbour == "failed":
		v.add("route", Failed, "%s; nobody there has the address", text)
		v.blame("nobody has the address %s in the private network any more; use a name, and look it up again for new connections", addr)
	default:
		if private && w.Neighbour != "" {
			text += "; neighbour " + w.Neighbour
		}
		v.add("route", OK, "%s", text)
	}
}

// dropped counts what the switch dropped between the container and all
// addresses, by reason.
func (v *visit) dropped(ctx context.Context) (map[string]uint64, error) {
	if v.Drops == nil {
		return nil, nil
	}
	sum := map[string]uint64{}
	for _, addr := range v.addrs {
		if !platform.NetworkPrefix.Contains(addr) {
			continue
		}
		counts, err := v.Drops.Between(ctx, v.from.ProjectID, v.from.PrivateAddr, addr)
		if err != nil {
			return nil, err
		}
		for reason, n := range counts {
			sum[reason] += n
		}
	}
	return sum, nil
}

// drops tells what the switch dropped during the tries.
func (v *visit) drops(before, after map[string]uint64) {
	if v.Drops == nil || !slices.ContainsFunc(v.addrs, platform.NetworkPrefix.Contains) {
		return
	}
	var texts []string
	for _, reason := range slices.Sorted(maps.Keys(after)) {
		if n := after[reason] - before[reason]; n > 0 {
			texts = append(texts, fmt.Sprintf("%d as %s", n, reason))
		}
	}
	if len(texts) == 0 {
		v.add("drops", OK, "the switch dropped none of its packets")
		return
	}
	v.add("drops", Failed, "the switch dropped %s", strings.Join(texts, ", "))
	v.blame("the private network drops its packets (%s); atoll drops -a %s shows more", strings.Join(texts, ", "), v.from.AppName)
}

// blameFor explains a failure of which nothing seen before was the reason.
func (v *visit) blameFor(addr netip.Addr, err error) {
	private := platform.NetworkPrefix.Contains(addr)
	switch {
	case isItself(addr):
		v.blame("%s is the container itself, and nothing in it accepts connections on %s; %s", v.q.To, v.service(), otherHint)
	case errors.Is(err, syscall.ECONNREFUSED):
		v.blame("%s refuses connections on %s; nothing listens there", addr, v.service())
	case errors.Is(err, syscall.EHOSTUNREACH) && private:
		v.blame("nobody has the address %s in the private network; use a name, and look it up again for new connections", addr)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		v.blame("there is no way to %s; run atoll doctor on the machine", addr)
	case isTimeout(err) && private:
		v.blame("%s does not answer: its program does not accept connections (it may be stuck or overloaded), see atoll logs", addr)
	case isTimeout(err):
		v.blame("%s does not answer on %s: that host is down, or a firewall on the way drops it; try it from elsewhere", addr, v.service())
	default:
		v.blame("the connection to %s fails: %v", addr, cause(err))
	}
}

func said(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses it"
	case isTimeout(err):
		return "does not answer"
	}
	return fmt.Sprintf("cannot be reached (%v)", cause(err))
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
