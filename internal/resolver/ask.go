package resolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Ask asks for the IPv4 addresses of a name, as a container does: by UDP, and
// by TCP when the answer does not fit. name ends with a dot. dial connects to
// the resolver by "udp" or "tcp". code is that of the answer, "NOERROR" or
// "NXDOMAIN" for instance.
func Ask(ctx context.Context, name string, dial func(ctx context.Context, network string) (net.Conn, error)) (code string, addrs []netip.Addr, err error) {
	if _, ok := dns.IsDomainName(name); !ok {
		return "NXDOMAIN", nil, nil // it could not even be asked
	}
	query := new(dns.Msg).SetQuestion(name, dns.TypeA)
	query.Id = uint16(rand.Uint32())
	query.SetEdns0(maxUDP, false)
	answer, err := askOver(ctx, "udp", query, dial)
	if err == nil && answer.Truncated {
		answer, err = askOver(ctx, "tcp", query, dial)
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot ask for %s: %w", name, err)
	}
	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return dns.RcodeToString[answer.Rcode], addrs, nil
}

// askAgain is after how long a question counts as lost: later than an upstream
// may answer.
const askAgain = perQuestion + 500*time.Millisecond

// askOver sends again when it waited in vain, as packets get lost.
func askOver(ctx context.Context, network string, query *dns.Msg, dial func(context.Context, string) (net.Conn, error)) (*dns.Msg, error) {
	var last error
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, askAgain)
		answer, err := exchangeOnce(limited, network, query, dial)
		cancel()
		if err == nil {
			return answer, nil
		}
		last = err
		if n := net.Error(nil); !errors.As(err, &n) || !n.Timeout() {
			break
		}
	}
	if last == nil { // it had ended before
		last = context.Cause(ctx)
	}
	return nil, last
}

func exchangeOnce(ctx context.Context, network string, query *dns.Msg, dial func(context.Context, string) (net.Conn, error)) (*dns.Msg, error) {
	conn, err := dial(ctx, network)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := dns.Conn{Conn: conn, UDPSize: maxUDP}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if err := c.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		answer, err := c.ReadMsg()
		if err != nil {
			return nil, err
		}
		if answers(answer, query) {
			return answer, nil
		}
	}
}
