package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// limit is for things that take milliseconds on an idle machine.
const limit = 20 * time.Second

func linkNames(t *testing.T) []string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	slices.Sort(names)
	return names
}

func TestNamespacesAreJoinedToEachOtherOnly(t *testing.T) {
	NeedRoot(t)
	before := linkNames(t)
	l := Start(t, Options{})
	if diff := cmp.Diff(before, linkNames(t)); diff != "" {
		t.Errorf("links of the machine changed (-before +after):\n%s", diff)
	}
	peers := map[string]int{}
	for _, tc := range []struct {
		ns    Namespace
		link  string
		other Namespace
	}{{l.Server(), serverLink, l.Internet()}, {l.Internet(), internetLink, l.Server()}} {
		err := Do(tc.ns, func() error {
			if diff := cmp.Diff([]string{"lo", tc.link}, linkNames(t)); diff != "" {
				t.Errorf("%s has other links (-want +got):\n%s", tc.ns.Name(), diff)
			}
			link, err := netlink.LinkByName(tc.link)
			if err != nil {
				return err
			}
			peers[tc.ns.Name()+" index"] = link.Attrs().Index
			peers[tc.ns.Name()+" peer"] = link.Attrs().ParentIndex
			v6, err := netlink.AddrList(nil, netlink.FAMILY_V6)
			if len(v6) > 0 {
				t.Errorf("%s has IPv6 addresses: %v", tc.ns.Name(), v6)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if peers["server index"] != peers["internet peer"] || peers["internet index"] != peers["server peer"] {
		t.Errorf("the links are not each other's peers: %v", peers)
	}
}

func TestNoRouteToTheMachine(t *testing.T) {
	l := Start(t, Options{})
	var own []net.IP
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP; ip.To4() != nil && !ip.IsLoopback() {
			own = append(own, ip)
		}
	}
	for _, ns := range []Namespace{l.Server(), l.Internet()} {
		err := Do(ns, func() error {
			for _, ip := range own {
				routes, err := netlink.RouteGet(ip)
				if err != nil {
					continue // no route at all
				}
				for _, r := range routes {
					link, err := netlink.LinkByIndex(r.LinkIndex)
					if err != nil {
						return err
					}
					if name := link.Attrs().Name; name != serverLink && name != internetLink {
						t.Errorf("%s reaches the machine's %v by %s", ns.Name(), ip, name)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// What listens on the machine's loopback is not there in the lab.
	outside, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	for _, ns := range []Namespace{l.Server(), l.Internet()} {
		if conn, err := ns.Dial(t.Context(), "tcp4", outside.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%s reaches the machine's 127.0.0.1", ns.Name())
		}
	}
}

func TestServerReachesTheEcho(t *testing.T) {
	l := Start(t, Options{})
	client := &http.Client{Transport: &http.Transport{DialContext: l.DialServer, DisableKeepAlives: true}}
	resp, err := client.Post("http://example.com/some/where", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got Echo
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(got.Source); host != ServerAddr {
		t.Errorf("source %s, want %s", got.Source, ServerAddr)
	}
	got.Source, got.Header = "", nil
	if diff := cmp.Diff(Echo{Method: "POST", Host: "example.com", Path: "/some/where", Body: "hello"}, got); diff != "" {
		t.Errorf("echo (-want +got):\n%s", diff)
	}
}

func TestHTTPClientIsAVisitorFromTheInternet(t *testing.T) {
	l := Start(t, Options{Records: []string{"*.shop.example. 60 IN A " + ServerAddr}})
	listener, err := l.ListenServer("tcp4", ":80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.RemoteAddr)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Close()
		<-served
	}()
	resp, err := l.HTTPClient().Get("http://www.shop.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var host, from string
	if _, err := fmt.Fscan(resp.Body, &host, &from); err != nil {
		t.Fatal(err)
	}
	if ip, _, _ := net.SplitHostPort(from); host != "www.shop.example" || ip != InternetAddr {
		t.Errorf("server saw host %q from %q, want www.shop.example from %s", host, from, InternetAddr)
	}
	if _, err := l.HTTPClient().Get("http://unknown.example/"); err == nil {
		t.Error("a name without a record was reached")
	}
}

func TestTheInternetIsHostile(t *testing.T) {
	l := Start(t, Options{})
	err := Do(l.Server(), func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("10.240.0.9/32")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := l.ListenServer("tcp4", "10.240.0.9:3000")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := l.DialInternet(t.Context(), "tcp4", "10.240.0.9:3000")
	if err != nil {
		t.Fatalf("a private address that nothing protects was not reached: %v", err)
	}
	conn.Close()
}

func TestUpstreamAnswersAndRecords(t *testing.T) {
	l := Start(t, Options{Records: []string{"big.example. 60 IN TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 5)}})
	ask := func(network, name string, qtype uint16) *dns.Msg {
		t.Helper()
		conn, err := l.DialServer(t.Context(), network, InternetAddr+":53")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		client := &dns.Client{Net: network, Timeout: limit}
		reply, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, qtype), &dns.Conn{Conn: conn})
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	if r := ask("udp", "Example.com.", dns.TypeA); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != EchoAddr {
		t.Errorf("Example.com A: %v", r)
	}
	if r := ask("tcp", "www.example.com.", dns.TypeA); len(r.Answer) != 2 {
		t.Errorf("www.example.com A, an alias: %v", r)
	}
	if r := ask("udp", "example.com.", dns.TypeAAAA); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
		t.Errorf("example.com AAAA: %v", r)
	}
	if r := ask("udp", "api.shop.internal.", dns.TypeA); r.Rcode != dns.RcodeNameError {
		t.Errorf("api.shop.internal A: %v", r)
	}
	if r := ask("udp", "big.example.", dns.TypeTXT); !r.Truncated {
		t.Errorf("big.example TXT by UDP is not truncated: %v", r)
	}
	if r := ask("tcp", "big.example.", dns.TypeTXT); r.Truncated || len(r.Answer) != 1 {
		t.Errorf("big.example TXT by TCP: %v", r)
	}
	questions, err := l.UpstreamQuestions()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range questions {
		if ip, _, _ := net.SplitHostPort(q.From); ip != ServerAddr {
			t.Errorf("question from %s, want %s", q.From, ServerAddr)
		}
		got = append(got, q.Network+" "+q.Type+" "+q.Name)
	}
	want := []string{
		"udp A Example.com.", "tcp A www.example.com.", "udp AAAA example.com.",
		"udp A api.shop.internal.", "udp TXT big.example.", "tcp TXT big.example.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
}

func TestCommandSeesCgroupsAndMounts(t *testing.T) {
	l := Start(t, Options{})
	out, err := l.Server().Command(t.Context(), "cat", "/proc/self/mountinfo").Output()
	if err != nil {
		t.Fatal(err)
	}
	inside, err := parseMounts(strings.NewReader(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	outside, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	cgroups := func(mounts []mount) (points []string) {
		for _, m := range mounts {
			if strings.HasPrefix(m.fstype, "cgroup") {
				points = append(points, m.point)
			}
		}
		return points
	}
	if diff := cmp.Diff(cgroups(outside), cgroups(inside)); diff != "" || len(cgroups(inside)) == 0 {
		t.Errorf("cgroup mounts (-outside +inside):\n%s", diff)
	}
	ns, err := l.Server().Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(ns)), namespaceOf(t, l.Server()); got != want {
		t.Errorf("the command runs in %s, want %s", got, want)
	}
}

func TestBPFFSIsMounted(t *testing.T) {
	l := Start(t, Options{})
	var fs unix.Statfs_t
	if err := unix.Statfs(l.BPFFS(), &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		t.Errorf("%s has file system %#x, want %#x", l.BPFFS(), fs.Type, unix.BPF_FS_MAGIC)
	}
	if err := os.Mkdir(filepath.Join(l.BPFFS(), "pins"), 0o700); err != nil {
		t.Error(err)
	}
}

func TestDoComesBack(t *testing.T) {
	l := Start(t, Options{})
	before, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	// Many at once and one inside the other, so that threads are used again.
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			err := Do(l.Server(), func() error {
				outer, err := os.Readlink("/proc/thread-self/ns/net")
				if err != nil {
					return err
				}
				if err := Do(l.Internet(), func() error { return nil }); err != nil {
					return err
				}
				if again, _ := os.Readlink("/proc/thread-self/ns/net"); again != outer || again == before {
					return fmt.Errorf("in %s, then %s", outer, again)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if now, _ := os.Readlink("/proc/thread-self/ns/net"); now != before {
				t.Errorf("outside again in %s, want %s", now, before)
			}
		})
	}
	all.Wait()

	wrong := errors.New("wrong")
	if err := Do(l.Server(), func() error { return wrong }); err != wrong {
		t.Errorf("error %v, want %v", err, wrong)
	}
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "oh no") {
				t.Errorf("panic %v was not passed on", p)
			}
		}()
		_ = Do(l.Server(), func() error { panic("oh no") })
	}()
	ended := make(chan bool, 1)
	go func() {
		returned := false
		defer func() { ended <- !returned }()
		t.Run("skipped inside", func(t *testing.T) {
			_ = Do(l.Server(), func() error { t.SkipNow(); return nil })
			returned = true
		})
	}()
	if !<-ended {
		t.Error("a test that ended inside went on outside")
	}
}

func TestBadInput(t *testing.T) {
	for _, name := range []string{"", "Upper", "a/b", "..", "-a", strings.Repeat("x", 33)} {
		if _, err := New(name, Options{}); err == nil || !strings.Contains(err.Error(), "lab name") {
			t.Errorf("New(%q): %v", name, err)
		}
		if err := Remove(name); err == nil {
			t.Errorf("Remove(%q) is no error", name)
		}
	}
	if _, err := Open("not-there"); err == nil || !strings.Contains(err.Error(), "atoll-lab up") {
		t.Errorf("Open of no lab: %v", err)
	}
	for _, addr := range []string{"0.0.0.0:0", ":0", "203.0.113.9:80", "localhost:80", "127.0.0.2:0", "[::1]:0", "nonsense"} {
		if _, err := ListenLoopback(addr); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("ListenLoopback(%q): %v", addr, err)
		}
	}
}

func TestForward(t *testing.T) {
	l := Start(t, Options{})
	listener, err := ListenLoopback("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Forward(ctx, listener, l.Server(), EchoAddr+":80") }()
	resp, err := http.Get("http://" + listener.Addr().String() + "/through")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got Echo
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(got.Source); host != ServerAddr || got.Path != "/through" {
		t.Errorf("echo %+v, want it from %s", got, ServerAddr)
	}
	cancel() // the connection of http.Get is still open
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Fatal("the forwarder does not end")
	}
}

func TestNamesOfTests(t *testing.T) {
	for _, name := range []string{"TestX", "TestA/b c", "Test", "Benchmark_Ünï", "TestAVeryLongNameIndeed/with/subtests"} {
		if got := testName(name, 4194304, 100); !nameForm.MatchString(got) {
			t.Errorf("%s: %q is not a lab name", name, got)
		}
	}
}
