package attack

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/e2e/attack/order"
	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// names asks for what only another network has, in every form.
func (s *siege) names(t *testing.T) {
	long := s.strangers[0].app.LongName(t, "api.attack-stranger.internal.")
	reverse := func(last byte) string { return fmt.Sprintf("%d.0.240.10.in-addr.arpa.", last) }
	far := s.strangers[2].pn0.As4()[3]
	of := func(kind string, names ...string) (questions []order.Question) {
		for _, name := range names {
			questions = append(questions, order.Question{Name: name, Type: kind, Class: "IN"})
		}
		return questions
	}
	stranger := []string{"attack-stranger.internal.", "api.attack-stranger.internal.", "1.api.attack-stranger.internal.", "API.Attack-Stranger.INTERNAL.", long, "1." + long}
	zones := []string{"internal.", "private-network.internal.", "attack-stranger.internal.", "240.10.in-addr.arpa.", "in-addr.arpa."}
	forward := slices.Concat(of("A", stranger...), of("AAAA", stranger...), of("ANY", stranger...), of("SRV", stranger...), of("TXT", stranger...))
	for _, a := range []struct {
		name      string
		questions []order.Question
		tcp       bool
	}{
		{"names of another network", forward, false},
		{"names of another network, by TCP", forward, true},
		{"addresses of another network (PTR)", of("PTR", reverse(far), "77.0.240.10.in-addr.arpa.", "1.0.17.172.in-addr.arpa."), false},
		{"zone transfers", slices.Concat(of("AXFR", zones...), of("IXFR", zones...)), true},
		{"zone transfers, by UDP", slices.Concat(of("AXFR", zones...), of("IXFR", zones...)), false},
		{"everything of a zone (ANY)", of("ANY", zones[:4]...), true},
		{"the server's own secrets (CHAOS)", []order.Question{{Name: "version.bind.", Type: "TXT", Class: "CH"}, {Name: "hostname.bind.", Type: "TXT", Class: "CH"}, {Name: "id.server.", Type: "TXT", Class: "CH"}}, false},
	} {
		t.Run(a.name, func(t *testing.T) {
			out := s.attacker.plain.must(t, order.Order{Ask: &order.Ask{Server: "172.17.0.1:53", TCP: a.tcp, Questions: a.questions}})
			codes := s.wantNothingTold(t, a.questions, out)
			rig.Report(t, "attack: DNS: "+a.name, "0 records for %d questions; %s", out.Sent, codes)
		})
	}
	for _, tcp := range []bool{false, true} {
		t.Run("twin: the stranger itself"+map[bool]string{true: ", by TCP"}[tcp], func(t *testing.T) { s.namesAreThere(t, stranger, reverse(far), tcp) })
	}
	t.Run("twin: a server that tells", func(t *testing.T) {
		s.tellingIsNoticed(t, slices.Concat(of("AXFR", zones...), of("IXFR", zones...), of("ANY", zones...), of("A", stranger...)))
	})
}

// wantNothingTold checks that no answer has a record, and counts the codes.
func (s *siege) wantNothingTold(t *testing.T, questions []order.Question, out order.Outcome) string {
	t.Helper()
	codes := map[string]int{}
	for i, answer := range out.Answers {
		q := questions[i]
		codes[answer.Rcode+answer.Error]++
		for _, record := range toldBy(answer) {
			t.Errorf("%s %s %s: %s", q.Name, q.Class, q.Type, record)
		}
		if answer.Rcode == "" {
			t.Errorf("%s %s %s gets no answer: %s", q.Name, q.Class, q.Type, answer.Error)
		}
		if answer.Rcode == "NOERROR" && strings.Contains(strings.ToLower(q.Name), "stranger") {
			t.Errorf("%s %s %s is NOERROR: that there is such a name is told", q.Name, q.Class, q.Type)
		}
	}
	return strings.Trim(fmt.Sprint(codes), "map[]")
}

// toldBy is what an answer tells, in any section: all but how long it holds.
func toldBy(a order.Answer) []string {
	return slices.DeleteFunc(slices.Concat(a.Records, a.Beside), func(record string) bool { return strings.Contains(record, "\tSOA\t") })
}

// tellingIsNoticed asks a server on the internet that gives away its zones: in
// the answer, and to every second question only beside it.
func (s *siege) tellingIsNoticed(t *testing.T, questions []order.Question) {
	listener, err := s.Lab.ListenInternet("tcp4", lab.InternetAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		secret := []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "secret.internal.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.IPv4(10, 240, 0, 9)}}
		reply := new(dns.Msg).SetReply(q)
		if asked.Add(1)%2 == 0 {
			reply.Extra = secret
		} else {
			reply.Answer = secret
		}
		_ = w.WriteMsg(reply) // without it the question has no answer, and the test fails
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { listener.Close() })
	out := s.attacker.plain.must(t, order.Order{Ask: &order.Ask{Server: listener.Addr().String(), TCP: true, Questions: questions}})
	for i, answer := range out.Answers {
		if len(toldBy(answer)) != 1 {
			t.Errorf("%s %s told a record, which the test does not notice: %+v", questions[i].Name, questions[i].Type, answer)
		}
	}
}

// namesAreThere asks the same in the stranger's own network.
func (s *siege) namesAreThere(t *testing.T, names []string, reverse string, tcp bool) {
	var questions []order.Question
	for _, name := range names[1:] { // the first means web, of which it has none
		questions = append(questions, order.Question{Name: name, Type: "A", Class: "IN"})
	}
	questions = append(questions, order.Question{Name: reverse, Type: "PTR", Class: "IN"})
	out := s.strangers[0].plain.must(t, order.Order{Ask: &order.Ask{Server: "172.17.0.1:53", TCP: tcp, Questions: questions}})
	for i, answer := range out.Answers {
		if len(answer.Records) == 0 {
			t.Errorf("the stranger itself gets nothing for %s: %+v", questions[i].Name, answer)
		}
	}
}
