package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// patience is how long an exchange may take before it has failed.
const patience = 3 * time.Second

// load makes exchanges, each on a connection of its own, and measures them.
func load(l order.Load, out *order.Outcome) error {
	exchange, ok := map[order.LoadKind]func(string) error{
		order.Echo: echo, order.Fetch: fetch,
		order.Resolve: func(target string) error { return resolve(target, l.Name) },
	}[l.Kind]
	if !ok {
		return fmt.Errorf("nothing is called %q", l.Kind)
	}
	var took []time.Duration
	e := &out.Exchanges
	ticks := time.NewTicker(l.Every)
	defer ticks.Stop()
	for end := time.Now().Add(l.For); time.Now().Before(end); <-ticks.C {
		start := time.Now()
		err := exchange(l.Target)
		took = append(took, time.Since(start))
		if e.Count++; err == nil {
			continue
		}
		if e.Failed++; e.Failed == 1 {
			e.Failure = err.Error()
		}
	}
	slices.Sort(took)
	e.P50, e.P95, e.P99 = took[len(took)/2], took[len(took)*95/100], took[len(took)*99/100]
	return nil
}

// dial opens a connection that breaks off when the patience is over.
func dial(target string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp4", target, patience)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

func echo(target string) error {
	conn, err := dial(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, "load"); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

func fetch(target string) error {
	conn, err := dial(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	req, err := http.NewRequest(http.MethodGet, "http://"+target+"/", nil)
	if err != nil {
		return err
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// resolve asks for a name that has one address.
func resolve(target, name string) error {
	client := &dns.Client{Timeout: patience}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), target)
	if err == nil && len(reply.Answer) != 1 {
		err = fmt.Errorf("the answer is %s with %d records", dns.RcodeToString[reply.Rcode], len(reply.Answer))
	}
	return err
}
