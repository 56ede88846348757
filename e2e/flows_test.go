package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// flow is what `atoll flows --json` tells of one.
type flow struct {
	From, To     struct{ Name, Address string }
	Protocol     string
	Port         int
	Packets      int
	Bytes        int
	ReplyPackets int `json:"reply_packets"`
	ReplyBytes   int `json:"reply_bytes"`
	Verdict      string
	LastSeen     time.Time `json:"last_seen"`
}

func (f flow) is(from, to, protocol string, port int, verdict string) bool {
	return f.From.Name == from && f.To.Name == to && f.Protocol == protocol && f.Port == port && f.Verdict == verdict
}

// drop is what `atoll drops --json` tells of one.
type drop struct {
	From, To struct{ Name, Address string }
	Reason   string
	Count    int
}

// TestFlows looks at who talked to whom, and at what was not delivered.
func TestFlows(t *testing.T) {
	t.Parallel()
	f := &traffic{openPolicied(t, "flows")}
	t.Run("who talked to whom", f.list)
	t.Run("follow", f.follow)
	t.Run("drops", f.drops)
	t.Run("other projects", f.others)
	t.Run("a container that went away", f.gone)
}

type traffic struct{ *policied }

func (f *traffic) flows(t *testing.T) (all []flow) {
	t.Helper()
	f.client.Read(t, &all, "flows")
	return all
}

// await waits until a flow is listed. The counters are read at most four times
// in a second.
func (f *traffic) await(t *testing.T, from, to, protocol string, port int, verdict string) (found flow) {
	t.Helper()
	rig.Await(t, 5*time.Second, "a flow to be listed", func() error {
		all := f.flows(t)
		i := slices.IndexFunc(all, func(one flow) bool { return one.is(from, to, protocol, port, verdict) })
		if i < 0 {
			return fmt.Errorf("no %s -> %s %d/%s %s in %+v", from, to, port, protocol, verdict, all)
		}
		found = all[i]
		return nil
	})
	return found
}

const (
	flowWeb = "flows-client/web/1"
	flowAPI = "flows-server/api/1"
)

func (f *traffic) list(t *testing.T) {
	for range 3 { // each from another port of the client's
		f.wantPassed(t)
	}
	got := f.await(t, flowWeb, flowAPI, "tcp", 3000, "allowed")
	if got.Packets < 9 || got.ReplyPackets < 9 || got.Bytes < 9*40 || got.ReplyBytes < 3*100 || time.Since(got.LastSeen).Abs() > time.Minute ||
		got.From.Address != f.web.Atoll.PrivateIP || got.To.Address != f.api.Atoll.PrivateIP {
		t.Errorf("three requests are %+v", got)
	}
	if _, err := f.api.Run(t, "ping", "-c", "1", "-W", "2", f.web.Atoll.PrivateIP); err != nil {
		t.Error(err)
	}
	f.await(t, flowAPI, flowWeb, "icmp", 0, "allowed")
	for _, one := range f.flows(t) {
		if one.From.Name == flowAPI && one.Protocol == "tcp" {
			t.Errorf("an answer is shown as a conversation: %+v", one)
		}
	}
	if out := f.client.Must(t, "flows"); !strings.Contains(out, flowWeb+"  "+flowAPI+"  3000/tcp  allowed") {
		t.Errorf("the table is\n%s", out)
	}
	f.policy(t, "mode", "deny")
	f.wantDenied(t)
	denied := f.await(t, flowWeb, flowAPI, "tcp", 3000, "denied")
	if denied.ReplyPackets != 0 || denied.Packets == 0 {
		t.Errorf("a denied conversation was answered: %+v", denied)
	}
	f.policy(t, "mode", "open")
	rig.Report(t, "flows: who talked to whom", "app/type/number, service port, both directions and verdict for TCP and ICMP, allowed and denied")
}

func (f *traffic) follow(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := f.client.Command(ctx, "flows", "--follow", "--json", "-a", f.client.Name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan flow, 100)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			var one flow
			if err := json.Unmarshal(scan.Bytes(), &one); err != nil {
				t.Errorf("a line is no JSON: %s", scan.Text())
			}
			lines <- one
		}
	}()
	// A conversation that comes before the stream is open does not count as
	// new: the first one is repeated until it is seen.
	until := func(port int, first bool) time.Duration {
		began := time.Now()
		for repeat := time.Tick(300 * time.Millisecond); ; {
			select {
			case one, ok := <-lines:
				if !ok {
					t.Fatal("the stream ended")
				}
				if one.From.Name == flowWeb && one.To.Name == flowAPI && one.Port == port {
					return time.Since(began)
				}
			case <-repeat:
				if first {
					f.wantPassed(t)
				}
			}
		}
	}
	until(3000, true)
	// A port that nobody listens on is refused by the container, which is a
	// conversation too.
	f.web.WantRefused(t, "http://"+f.api.Atoll.PrivateIP+":3007/")
	took := until(3007, false)
	if took > 5*time.Second {
		t.Errorf("a new conversation is shown after %s, want a few seconds", took)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range lines { // until its end
	}
	_ = cmd.Wait() // with the code of an interrupted command
	rig.Report(t, "flows: --follow shows a new conversation", "after %s", took.Round(10*time.Millisecond))
}

func (f *traffic) drops(t *testing.T) {
	const nobody, claimed = "10.240.3.200", "10.240.3.77"
	f.web.WantRefused(t, rig.Private(nobody))
	// As somebody who got all capabilities in the container's network.
	const spoof = `import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, socket.inet_aton(sys.argv[1]), socket.inet_aton(sys.argv[2]))
s.sendto(ip + struct.pack("!HHHH", 1111, 3000, 8, 0), (sys.argv[2], 0))
`
	out, err := exec.Command("nsenter", "--target", strconv.Itoa(f.web.First(t)), "--net", "--", "python3", "-c", spoof, claimed, f.api.Atoll.PrivateIP).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for reason, to := range map[string]string{"arp-unknown": nobody, "spoofed-ip": flowAPI} {
		rig.Await(t, 5*time.Second, reason+" to be listed", func() error {
			var all []drop
			f.client.Read(t, &all, "drops")
			if !slices.ContainsFunc(all, func(d drop) bool {
				return d.Reason == reason && d.From.Name == flowWeb && d.To.Name == to && d.Count > 0
			}) {
				return fmt.Errorf("there is %+v", all)
			}
			return nil
		})
	}
	if out := f.client.Must(t, "drops"); !strings.Contains(out, "arp-unknown") || !strings.Contains(out, flowWeb) {
		t.Errorf("the table is\n%s", out)
	}
	rig.Report(t, "drops: reason, from, to, count", "a destination that nobody has and a spoofed source, from who it really was")
}

func (f *traffic) others(t *testing.T) {
	m := f.client.Machine
	other := m.Project(t, "flows-other")
	for _, verb := range []string{"flows", "drops"} {
		if out := strings.TrimSpace(m.Must(t, verb, "--project", other, "--json")); out != "[]" {
			t.Errorf("%s of another project are\n%s", verb, out)
		}
	}
}

func (f *traffic) gone(t *testing.T) {
	f.server.Must(t, "scale", "api:0")
	rig.AwaitGone(t, f.api)
	f.await(t, flowWeb, flowAPI, "tcp", 3000, "allowed")
	f.server.Must(t, "rename", "flows-renamed")
	f.await(t, flowWeb, "flows-renamed/api/1", "tcp", 3000, "allowed")
}
