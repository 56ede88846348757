package lab

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// DefaultRecords is what the upstream resolver of every lab knows.
func DefaultRecords() []string {
	return []string{
		"example.com. 60 IN A " + EchoAddr,
		"www.example.com. 60 IN CNAME example.com.",
		"echo.example. 60 IN A " + EchoAddr,
	}
}

// zone is the whole of DNS, as the lab's internet knows it.
type zone struct {
	names map[string][]dns.RR // by lower-case absolute name
}

// newZone reads records in zone-file form over the default ones.
func newZone(records []string) (*zone, error) {
	z := &zone{names: map[string][]dns.RR{}}
	for _, given := range [][]string{DefaultRecords(), records} {
		layer := map[string][]dns.RR{}
		for _, line := range given {
			rr, err := dns.NewRR(line)
			if err == nil && rr == nil {
				err = fmt.Errorf("it is empty")
			}
			if err != nil {
				return nil, fmt.Errorf("the DNS record %q cannot be read (%w); the form is: shop.example. 60 IN A 203.0.113.2", line, err)
			}
			name := strings.ToLower(rr.Header().Name)
			layer[name] = append(layer[name], rr)
		}
		for name, rrs := range layer {
			z.names[name] = rrs
		}
	}
	return z, nil
}

// find gives the records of a name; false if it does not exist. A wildcard
// answers for what is below it, unless a longer name exists (RFC 4592).
func (z *zone) find(name string) ([]dns.RR, bool) {
	name = strings.ToLower(dns.Fqdn(name))
	if rrs, ok := z.names[name]; ok {
		return rrs, true
	}
	for off, end := dns.NextLabel(name, 0); !end; off, end = dns.NextLabel(name, off) {
		if rrs, ok := z.names["*."+name[off:]]; ok {
			return renamed(rrs, name), true
		}
		if _, ok := z.names[name[off:]]; ok {
			break
		}
	}
	return nil, false
}

// answer gives the records of one type, following aliases.
func (z *zone) answer(name string, qtype uint16) (rrs []dns.RR, exists bool) {
	for range 8 {
		found, ok := z.find(name)
		exists = exists || ok
		alias := ""
		for _, rr := range found {
			cname, isAlias := rr.(*dns.CNAME)
			if isAlias && qtype != dns.TypeCNAME {
				alias = cname.Target
			}
			if isAlias || rr.Header().Rrtype == qtype || qtype == dns.TypeANY {
				rrs = append(rrs, rr)
			}
		}
		if alias == "" {
			return rrs, exists
		}
		name = alias
	}
	return rrs, exists
}

// address is one IPv4 address of a name.
func (z *zone) address(name string) (string, bool) {
	rrs, _ := z.answer(name, dns.TypeA)
	for _, rr := range rrs {
		if a, ok := rr.(*dns.A); ok {
			return a.A.String(), true
		}
	}
	return "", false
}

func renamed(rrs []dns.RR, name string) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	return out
}
