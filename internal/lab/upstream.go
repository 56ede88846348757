package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Question is one question that the upstream resolver got.
type Question struct {
	Time    time.Time `json:"time"`
	Name    string    `json:"name"`    // as asked, with the dot at the end
	Type    string    `json:"type"`    // "A", "AAAA", "SRV"...
	Network string    `json:"network"` // "udp" or "tcp"
	From    string    `json:"from"`    // address and port
}

// upstream is the resolver that the machine under test would get from its
// hosting company: it knows the zone, and nothing else exists.
type upstream struct {
	zone *zone

	mu  sync.Mutex
	log *os.File // a line of JSON for each question
}

// ServeDNS writes the question down, then answers.
func (u *upstream) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	reply := new(dns.Msg).SetReply(req)
	reply.RecursionAvailable = true
	if len(req.Question) != 1 || req.Opcode != dns.OpcodeQuery {
		reply.Rcode = dns.RcodeFormatError
	} else if err := u.remember(w, req.Question[0]); err != nil {
		// Tests rely on the list being complete: no answer without an entry.
		slog.Error("The lab's resolver cannot write a question down", "err", err)
		reply.Rcode = dns.RcodeServerFailure
	} else {
		u.answer(reply, req.Question[0])
	}
	size := dns.MaxMsgSize
	if w.LocalAddr().Network() == "udp" {
		size = dns.MinMsgSize
		if opt := req.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
	}
	if opt := req.IsEdns0(); opt != nil {
		reply.SetEdns0(opt.UDPSize(), false)
	}
	reply.Truncate(size)
	if err := w.WriteMsg(reply); err != nil {
		slog.Warn("The lab's resolver cannot answer", "to", w.RemoteAddr().String(), "err", err)
	}
}

func (u *upstream) answer(reply *dns.Msg, q dns.Question) {
	rrs, exists := u.zone.answer(q.Name, q.Qtype)
	reply.Answer = rrs
	if !exists {
		reply.Rcode = dns.RcodeNameError
	}
	if len(rrs) == 0 {
		// How long "no" is kept (RFC 2308).
		reply.Ns = append(reply.Ns, &dns.SOA{
			Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 5},
			Ns:  "ns.example.", Mbox: "hostmaster.example.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 5,
		})
	}
}

func (u *upstream) remember(w dns.ResponseWriter, q dns.Question) error {
	line, err := json.Marshal(Question{
		Time: time.Now(), Name: q.Name, Type: dns.TypeToString[q.Qtype],
		Network: w.LocalAddr().Network(), From: w.RemoteAddr().String(),
	})
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err = u.log.Write(append(line, '\n'))
	return err
}

// readQuestions reads the list, which another process may be writing.
func readQuestions(path string) ([]Question, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var questions []Question
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		var q Question
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, fmt.Errorf("the list of questions in %s is damaged: %w", path, err)
		}
		questions = append(questions, q)
	}
	return questions, nil
}
