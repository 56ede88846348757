package repair

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// lookup is a program that looks names up with what its language brings along,
// as /etc/resolv.conf of its container says.
type lookup struct {
	name, failure string
	from          rig.Container
	program       string
}

// connect connects once by a name.
func (l lookup) connect(t *testing.T, host, port string) (took time.Duration, err error) {
	t.Helper()
	began := time.Now()
	_, err = l.from.Run(t, l.program, host, port, "1")
	return time.Since(began), err
}

// lookups deploys the programs into the project of the shop.
func (s *site) lookups(t *testing.T) (all []lookup) {
	t.Helper()
	folder := rig.Folder(t, map[string]string{"Procfile": "client: sleep infinity\n"})
	sources := filepath.Join("..", "testdata", "balance")
	compile := func(program string, args ...string) {
		cmd := exec.Command(args[0], append(args[1:], filepath.Join(sources, program))...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("%s is not on this machine (scripts/setup.sh e2e installs it): %v\n%s", args[0], err, out)
		}
	}
	compile("client.c", "musl-gcc", "-static", "-O1", "-o", filepath.Join(folder, "musl"))
	compile("client.c", "gcc", "-O1", "-o", filepath.Join(folder, "glibc"))
	compile(filepath.Join("go", "main.go"), "go", "build", "-o", filepath.Join(folder, "netgo"))
	client := s.App(t, "repair-shop", "repair-client")
	client.Must(t, "scale", "web:0")
	client.Deploy(t, folder)
	client.Must(t, "scale", "client:1")
	from := client.Container(t, "client-1")
	return []lookup{
		{"musl", "Try again", from, "/app/musl"},
		{"glibc", "Temporary failure", from, "/app/glibc"},
		// What it says of SERVFAIL, and not of an answer that is too late.
		{"Go", "server misbehaving", from, "/app/netgo"},
	}
}

// slowUpstream has names outside answered late, with the echo's address.
func (s *site) slowUpstream(t *testing.T, delay time.Duration) {
	t.Helper()
	packets, err := s.Lab.Internet().ListenPacket("udp4", lab.InternetAddr+":5353")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(delay)
		reply := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			record, err := dns.NewRR(q.Question[0].Name + " 60 IN A " + lab.EchoAddr)
			if err != nil {
				t.Error(err)
				return
			}
			reply.Answer = append(reply.Answer, record)
		}
		_ = w.WriteMsg(reply) // nobody may wait for it any more
	})}
	done := make(chan struct{})
	go func() {
		_ = server.ActivateAndServe()
		close(done)
	}()
	t.Cleanup(func() {
		packets.Close()
		<-done
	})
	internet := s.Lab.Internet().Path()
	run(t, internet, `nft -f - <<'X'
table ip slow { chain in { type nat hook prerouting priority dstnat; udp dport 53 redirect to :5353; }; }
X`)
	t.Cleanup(func() { run(t, internet, "nft delete table ip slow") })
}

// silence has no question for a name outside answered.
func (s *site) silence(t *testing.T) {
	t.Helper()
	internet := s.Lab.Internet().Path()
	run(t, internet, `nft -f - <<'X'
table inet silence { chain in { type filter hook input priority filter; meta l4proto { tcp, udp } th dport 53 drop; }; }
X`)
	t.Cleanup(func() { run(t, internet, "nft delete table inet silence") })
}

// TestPatienceOfClients: what containers are told of how long to wait, and how
// long the resolver lets them wait, suits each way to look names up.
func TestPatienceOfClients(t *testing.T) {
	s := newSite(t)
	clients := s.lookups(t)
	for _, situation := range []struct {
		name string
		meet func(t *testing.T, l lookup) string
	}{
		{"a slow upstream", s.meetSlowness},
		{"upstream down", s.meetSilence},
		{"a restart of the server", s.meetRestart},
	} {
		t.Run(situation.name, func(t *testing.T) {
			var found []string
			for _, l := range clients {
				t.Run(l.name, func(t *testing.T) { found = append(found, l.name+" "+situation.meet(t, l)) })
			}
			rig.Report(t, "names: "+situation.name+", from programs", "%s", strings.Join(found, "; "))
		})
	}
}

func (s *site) meetSlowness(t *testing.T, l lookup) string {
	const delay = 1500 * time.Millisecond
	s.slowUpstream(t, delay)
	took, err := l.connect(t, "slow.example.", "80")
	if err != nil || took < delay {
		t.Errorf("after %v: %v", took, err)
	}
	return fmt.Sprintf("resolves after %v", took.Round(10*time.Millisecond))
}

// meetSilence: the failure is the resolver's answer, and comes soon; most ask
// three times.
func (s *site) meetSilence(t *testing.T, l lookup) string {
	s.silence(t)
	took, err := l.connect(t, "down.example.", "80")
	if err == nil || !strings.Contains(err.Error(), l.failure) || took > 10*time.Second {
		t.Errorf("after %v it says %v, want %q", took, err, l.failure)
	}
	return fmt.Sprintf("fails after %v", took.Round(10*time.Millisecond))
}

// meetRestart asks for a private name when the server is just killed. musl
// waits the shortest, and gets its answer when a restart takes 2.6 s.
func (s *site) meetRestart(t *testing.T, l lookup) string {
	const down, promised = 1200 * time.Millisecond, 2600 * time.Millisecond
	for range 5 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		started := make(chan error, 1)
		time.AfterFunc(down, func() { started <- s.Start() })
		took, err := l.connect(t, "api.repair-shop.internal.", "3000")
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		back := time.Since(killed)
		if err == nil {
			if took < down {
				t.Errorf("it was answered after %v by a server that was down", took)
			}
			return fmt.Sprintf("resolves after %v", took.Round(10*time.Millisecond))
		}
		if back < promised {
			t.Fatalf("the server was back %v after it was killed: %v", back, err)
		}
		t.Logf("the server was back only %v after it was killed: %v", back, err)
	}
	t.Error("the machine is too slow: no restart was as short as is promised")
	return "unknown"
}
