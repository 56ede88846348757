package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/lab"
)

// sameAnswers asks both servers everything once: figures of servers that say
// different things compare nothing.
func sameAnswers(ctx context.Context, l *lab.Lab, a, b *server) error {
	for line := range strings.Lines(questionLines()) {
		fields := strings.Fields(line)
		one, err := a.answer(ctx, l, fields[0], dns.StringToType[fields[1]])
		if err != nil {
			return err
		}
		two, err := b.answer(ctx, l, fields[0], dns.StringToType[fields[1]])
		if err != nil {
			return err
		}
		if one != two {
			return fmt.Errorf("the servers differ about %s:\n%s: %s\n%s: %s", strings.TrimSpace(line), a.name, one, b.name, two)
		}
	}
	return nil
}

// answer is what matters of a reply, as text.
func (s *server) answer(ctx context.Context, l *lab.Lab, name string, qtype uint16) (string, error) {
	conn, err := l.Internet().Dial(ctx, "udp", net.JoinHostPort(lab.ServerAddr, s.port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	client := dns.Client{Timeout: 10 * time.Second}
	reply, _, err := client.ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: conn})
	if err != nil {
		return "", fmt.Errorf("%s does not answer: %w", s.name, err)
	}
	var records []string
	for _, rr := range reply.Answer {
		records = append(records, rr.String())
	}
	slices.Sort(records)
	for _, rr := range reply.Ns {
		if rr.Header().Rrtype == dns.TypeSOA {
			records = append(records, "SOA")
		}
	}
	return dns.RcodeToString[reply.Rcode] + " " + strings.Join(records, ", "), nil
}
