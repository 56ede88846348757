package router

import "strings"

// hostName returns the host of a Host header as the directory spells it:
// lower case, without port, without final dot. What is no host name at all
// comes back as something that no app is called.
func hostName(host string) string {
	if rest, found := strings.CutPrefix(host, "["); found {
		// An IPv6 address; no app has one as its host.
		address, _, _ := strings.Cut(rest, "]")
		return strings.ToLower(address)
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
