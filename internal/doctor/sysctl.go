package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/internal/namespace"
)

// Settings checks the kernel's settings that containers' traffic depends on.
// bridge is the containers' bridge. What the server sets itself counts only
// when it runs.
func Settings(bridge string, running bool) Check {
	return Check{"kernel settings", func(context.Context) (string, error) {
		var errs []error
		if running && setting("net/ipv4/ip_forward") == 0 {
			return "", errors.New("net.ipv4.ip_forward is 0, so containers do not reach the outside: something has reset it since the server started; sysctl -w net.ipv4.ip_forward=1, and look in /etc/sysctl.d for who does")
		}
		for _, link := range []string{bridge, defaultLink()} {
			if running && setting("net/ipv4/conf/"+link+"/forwarding") == 0 {
				return "", fmt.Errorf("net.ipv4.conf.%[1]s.forwarding is 0, so containers do not reach the outside: sysctl -w net.ipv4.conf.%[1]s.forwarding=1", link)
			}
		}
		if setting("net/core/bpf_jit_enable") == 0 {
			errs = append(errs, Warn("net.core.bpf_jit_enable is 0, so the private network is several times slower: sysctl -w net.core.bpf_jit_enable=1"))
		}
		if now, most := setting("net/netfilter/nf_conntrack_count"), setting("net/netfilter/nf_conntrack_max"); most > 0 && now > most*8/10 {
			errs = append(errs, Warn("the kernel tracks %d connections of at most %d, and new ones fail beyond that: sysctl -w net.netfilter.nf_conntrack_max=%d", now, most, 4*most))
		}
		if now, most := neighbours(), setting("net/ipv4/neigh/default/gc_thresh3"); most > 0 && now > most*8/10 {
			errs = append(errs, Warn("the kernel remembers %d neighbours of at most %d, and connections between containers fail beyond that: sysctl -w net.ipv4.neigh.default.gc_thresh3=%d", now, most, max(4*most, 16384)))
		}
		return "", errors.Join(errs...)
	}}
}

// setting reads a number below /proc/sys of this network namespace, -1 where
// there is none.
func setting(name string) int64 {
	var sysctl namespace.Settings
	defer sysctl.Close()
	text, err := sysctl.Get(name)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// neighbours is how many addresses on links the kernel remembers, of all
// network namespaces together; -1 where it does not tell.
func neighbours() int64 {
	text, err := os.ReadFile("/proc/net/stat/arp_cache")
	if err != nil {
		return -1
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return -1
	}
	n, err := strconv.ParseInt(fields[0], 16, 64)
	if err != nil {
		return -1
	}
	return n
}
