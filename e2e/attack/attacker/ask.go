package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// ask asks a DNS server one question after the other.
func ask(a order.Ask, out *order.Outcome) error {
	client := &dns.Client{Timeout: 3 * time.Second}
	if a.TCP {
		client.Net = "tcp"
	}
	for _, q := range a.Questions {
		kind, ok := dns.StringToType[q.Type]
		class, ok2 := dns.StringToClass[q.Class]
		if !ok || !ok2 {
			return fmt.Errorf("there is no type %s or class %s", q.Type, q.Class)
		}
		query := new(dns.Msg).SetQuestion(dns.Fqdn(q.Name), kind)
		query.Question[0].Qclass = class
		if kind == dns.TypeIXFR {
			query.SetIxfr(dns.Fqdn(q.Name), 1, "ns.internal.", "root.internal.")
		}
		out.Sent++
		out.Answers = append(out.Answers, answer(client, query, a.Server))
	}
	return nil
}

func answer(client *dns.Client, query *dns.Msg, server string) order.Answer {
	reply, _, err := client.Exchange(query, server)
	if err != nil {
		return order.Answer{Error: name(err)}
	}
	a := order.Answer{Rcode: dns.RcodeToString[reply.Rcode]}
	for _, record := range reply.Answer {
		a.Records = append(a.Records, record.String())
	}
	for _, record := range slices.Concat(reply.Ns, reply.Extra) {
		if record.Header().Rrtype != dns.TypeOPT {
			a.Beside = append(a.Beside, record.String())
		}
	}
	return a
}
