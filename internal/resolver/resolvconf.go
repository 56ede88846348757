package resolver

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

// maxNameservers is how many nameserver lines count, as for the C library.
const maxNameservers = 3

// ReadResolvConf returns the nameservers of a resolv.conf(5), such as
// /etc/resolv.conf of the host, with port 53. A file that names none is an
// error.
func ReadResolvConf(path string) ([]netip.AddrPort, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot find the host's resolvers: %w", err)
	}
	defer f.Close()
	addrs, err := parseResolvConf(f)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s names no resolver: add a line like \"nameserver 9.9.9.9\", or configure upstream resolvers", path)
	}
	return addrs, nil
}

// parseResolvConf ignores lines it does not understand, as every C library
// does.
func parseResolvConf(r io.Reader) ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(addrs) < maxNameservers {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			addrs = append(addrs, netip.AddrPortFrom(addr, 53))
		}
	}
	return addrs, lines.Err()
}
