package diagnosis

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// world is a platform made of tables: the project shop with shop-web and
// billing, the project lab with tracker, and hidden, whose owner is somebody
// else.
type world struct {
	t         *testing.T
	roster    *roster.Roster
	directory *directory.Directory
	amounts   map[string]map[string]int // by app id and type
	answers   map[string]answer         // by name
	sockets   map[string][]platform.Listener
	silent    map[netip.Addr]bool
	ways      map[netip.Addr]Way
	drops     map[string]uint64
	denied    bool
	rule      string
	warning   string
	mu        sync.Mutex // drops
}

// asker is the address of shop-web/web-1, which asks.
var asker = netip.MustParseAddr("10.240.0.1")

type answer struct {
	code  string
	addrs []netip.Addr
	err   error
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, roster: roster.New(), directory: directory.New(), amounts: map[string]map[string]int{}, answers: map[string]answer{},
		sockets: map[string][]platform.Listener{}, silent: map[netip.Addr]bool{}, ways: map[netip.Addr]Way{}}
	w.directory.Set([]directory.App{
		{ID: "ap-web", Name: "shop-web", ProjectID: "prj-shop", NetworkID: "pn-shop", Types: []string{"web"}, Deployed: true},
		{ID: "ap-billing", Name: "billing", ProjectID: "prj-shop", NetworkID: "pn-shop", Types: []string{"api", "worker"}, Deployed: true},
		{ID: "ap-new", Name: "brand-new", ProjectID: "prj-shop", NetworkID: "pn-shop", Types: []string{"web"}},
		{ID: "ap-tracker", Name: "tracker", ProjectID: "prj-lab", NetworkID: "pn-lab", Types: []string{"web"}, Deployed: true},
		{ID: "ap-hidden", Name: "hidden-app", ProjectID: "prj-other", NetworkID: "pn-other", Types: []string{"web"}, Deployed: true},
	})
	w.amounts["ap-billing"] = map[string]int{"api": 2}
	w.amounts["ap-web"] = map[string]int{"web": 1}
	w.amounts["ap-new"] = map[string]int{"web": 1}
	w.start("ap-web", "shop-web", "web", 1, "10.240.0.1", listener("tcp", "0.0.0.0:8080"))
	w.start("ap-billing", "billing", "api", 1, "10.240.0.2", listener("tcp", "0.0.0.0:3000"))
	w.start("ap-billing", "billing", "api", 2, "10.240.0.3", listener("tcp", "10.240.0.3:3000"))
	w.answers["api.billing.internal."] = answer{code: "NOERROR", addrs: addrs("10.240.0.2", "10.240.0.3")}
	w.answers["shop-web.internal."] = answer{code: "NOERROR", addrs: addrs("10.240.0.1")}
	w.answers["worker.billing.internal."] = answer{code: "NOERROR"}
	w.answers["billing.internal."] = answer{code: "NOERROR"}
	w.answers["brand-new.internal."] = answer{code: "NOERROR"}
	return w
}

func listener(protocol, at string) platform.Listener {
	a := netip.MustParseAddrPort(at)
	return platform.Listener{Protocol: protocol, Addr: a.Addr(), Port: a.Port()}
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func (w *world) start(appID, app, processType string, number int, addr string, sockets ...platform.Listener) {
	network, project := "pn-shop", "prj-shop"
	id := fmt.Sprintf("%s-%s-%d", app, processType, number)
	w.sockets["/ns/"+id] = sockets
	private := netip.MustParseAddr(addr)
	outside := netip.AddrFrom4([4]byte{172, 17, 0, private.As4()[3] + 1})
	w.roster.Put(platform.Instance{ID: id, AppID: appID, AppName: app, Type: processType, Number: number, Kind: platform.KindApp, NetworkID: network, ProjectID: project,
		Active: true, State: platform.InstanceRunning, StartedAt: time.Unix(1, 0), PrivateAddr: private, OutsideAddr: outside, NetnsPath: "/ns/" + id})
	w.roster.Observe(id, time.Unix(1, 0), platform.Observation{Ready: true, Listeners: sockets})
}

func (w *world) change(id string, f func(*platform.Instance)) {
	w.t.Helper()
	i, ok := w.roster.Get(id)
	if !ok {
		w.t.Fatalf("no instance %s", id)
	}
	f(&i)
	w.roster.Delete(id)
	w.roster.Put(i)
	w.roster.Observe(id, i.StartedAt, i.Observation)
}

func (w *world) Lookup(_ context.Context, _ string, _ netip.AddrPort, name string) (string, []netip.Addr, error) {
	a, ok := w.answers[name]
	if !ok {
		return "NXDOMAIN", nil, nil
	}
	return a.code, a.addrs, a.err
}

func (w *world) Listeners(path string) ([]platform.Listener, error) { return w.sockets[path], nil }

func (w *world) Way(_ string, addr netip.Addr) (Way, error) {
	if addr == asker {
		return Way{Link: "lo", Source: asker}, nil
	}
	if way, ok := w.ways[addr]; ok {
		return way, nil
	}
	return Way{Link: "pn0", Source: asker, Neighbour: "reachable"}, nil
}

// Try does what a kernel does.
func (w *world) Try(_ context.Context, _, protocol string, to netip.AddrPort) error {
	denied := w.denied && to.Addr() != asker
	if w.silent[to.Addr()] || denied {
		if denied {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.drops["denied"]++
		}
		if protocol == "udp" {
			return nil
		}
		return os.ErrDeadlineExceeded
	}
	rows, _ := w.roster.Snapshot()
	for _, i := range rows {
		if i.PrivateAddr == to.Addr() || i.PrivateAddr == asker && to.Addr().IsLoopback() {
			if slices.ContainsFunc(w.sockets[i.NetnsPath], func(l platform.Listener) bool {
				return l.Protocol == protocol && l.Port == to.Port() && (l.Addr.IsUnspecified() || l.Addr == to.Addr())
			}) {
				return nil
			}
			return &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}
		}
	}
	return &os.SyscallError{Syscall: "connect", Err: syscall.EHOSTUNREACH}
}

func (w *world) Formation(_ context.Context, id string) (types []platform.ProcessType, _ error) {
	for name, n := range w.amounts[id] {
		types = append(types, platform.ProcessType{Name: name, Amount: n})
	}
	return types, nil
}

func (w *world) ProjectByID(_ context.Context, id string) (platform.Project, error) {
	return platform.Project{ID: id, Name: strings.TrimPrefix(id, "prj-")}, nil
}

func (w *world) Decide(context.Context, platform.Instance, platform.Instance, string, uint16) (passes bool, rule, warning string, err error) {
	return !w.denied, w.rule, w.warning, nil
}

func (w *world) Between(context.Context, string, netip.Addr, netip.Addr) (map[string]uint64, error) {
	return map[string]uint64{"denied": w.drops["denied"]}, nil
}

// Refusal is that of a machine that lets containers reach public addresses.
func (w *world) Refusal(_ string, to netip.AddrPort) (string, error) {
	if to.Addr().IsPrivate() {
		return "containers reach public addresses only; ask the operator for --allow-private " + to.Addr().String() + "/32", nil
	}
	return "", nil
}

func (w *world) ask(to string, port uint16, protocol string) Report {
	w.t.Helper()
	cfg := Config{Roster: w.roster, Directory: w.directory, Store: w, Inside: w, Outside: w, Resolver: netip.MustParseAddrPort("172.17.0.1:53")}
	if w.drops != nil {
		cfg.Policies, cfg.Drops = w, w
	}
	r, err := New(cfg).Diagnose(w.t.Context(), Question{App: platform.App{ID: "ap-web", Name: "shop-web"}, Container: "web-1",
		Visible: map[string]bool{"ap-web": true, "ap-billing": true, "ap-new": true, "ap-tracker": true}, To: to, Port: port, Protocol: protocol})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		to       string
		port     uint16
		udp      bool
		given    func(*world)
		sentence string // after "shop-web/web-1 "
	}{
		"works":            {to: "api.billing.internal", port: 3000, sentence: "reaches api.billing.internal on 3000/tcp: each of its 2 addresses accepts connections."},
		"works by address": {to: "10.240.0.2", port: 3000, sentence: "reaches 10.240.0.2 on 3000/tcp: 10.240.0.2 accepts connections."},
		"a name without its zone": {to: "api.billing", port: 3000,
			sentence: "does not reach api.billing on 3000/tcp: api.billing is no name in DNS; write api.billing.internal, which works."},
		"a bare name, and the wrong port": {to: "shop-web", port: 80,
			sentence: "does not reach shop-web on 80/tcp: shop-web is no name in DNS; write shop-web.internal, which fails too: port 80 is the router's, and shop-web/web-1 listens on $PORT, which is 8080; connect to port 8080."},
		"a bare name, one of two on loopback": {to: "api.billing", port: 3000, given: func(w *world) {
			w.sockets["/ns/billing-api-2"] = []platform.Listener{listener("tcp", "127.0.0.1:3000")}
		}, sentence: "does not reach api.billing on 3000/tcp: api.billing is no name in DNS; write api.billing.internal, which works at 1 of its 2 addresses only: billing/api-2 listens on 127.0.0.1:3000/tcp only"},
		"like an app, and a name of the internet": {to: "api.billing", port: 3000, given: func(w *world) {
			w.answers["api.billing."] = answer{code: "NOERROR", addrs: addrs("203.0.113.9")}
		}, sentence: "does not reach api.billing on 3000/tcp: there is no way to 203.0.113.9"},
		"localhost": {to: "localhost", port: 3000,
			sentence: "does not reach localhost on 3000/tcp: localhost is the container itself, and nothing in it accepts connections on 3000/tcp; for another app use its name (atoll names lists them)."},
		"localhost that listens": {to: "127.0.0.1", port: 8080,
			sentence: "reaches 127.0.0.1 on 8080/tcp: 127.0.0.1 accepts connections; that is the container itself: for another app use its name (atoll names lists them)."},
		"localhost of IPv6": {to: "::1", port: 3000, sentence: "does not reach ::1 on 3000/tcp: ::1 is the container itself: for another app use its name"},
		"loopback only": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.sockets["/ns/billing-api-1"] = []platform.Listener{listener("tcp", "127.0.0.1:3000")}
			w.sockets["/ns/billing-api-2"] = []platform.Listener{listener("tcp", "127.0.0.1:3000")}
		}, sentence: "does not reach api.billing.internal on 3000/tcp: billing/api-1 listens on 127.0.0.1:3000/tcp only, where nobody but itself can connect; let it bind to 0.0.0.0 or to $SCALINGO_PRIVATE_HOSTNAME."},
		"one of two on loopback": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.sockets["/ns/billing-api-2"] = []platform.Listener{listener("tcp", "[::1]:3000")}
		}, sentence: "reaches api.billing.internal on 3000/tcp at 1 of its 2 addresses only: billing/api-2 listens on [::1]:3000/tcp only, where nobody but itself can connect; let it bind to 0.0.0.0 or to $SCALINGO_PRIVATE_HOSTNAME."},
		"eth0 only": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.sockets["/ns/billing-api-1"] = []platform.Listener{listener("tcp", "172.17.0.3:3000")}
			w.sockets["/ns/billing-api-2"] = nil
		}, sentence: "does not reach api.billing.internal on 3000/tcp: billing/api-1 listens on 172.17.0.3:3000/tcp only, which is its outside interface (eth0) and not the private network; let it bind to 0.0.0.0 or to $SCALINGO_PRIVATE_HOSTNAME."},
		"wrong port": {to: "api.billing.internal", port: 3001,
			sentence: "does not reach api.billing.internal on 3001/tcp: billing/api-1 does not listen on port 3001 but on 0.0.0.0:3000/tcp; connect to that port, or change the port it listens on."},
		"no port at all": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.sockets["/ns/billing-api-1"], w.sockets["/ns/billing-api-2"] = nil, nil
		}, sentence: "does not reach api.billing.internal on 3000/tcp: billing/api-1 listens on no TCP port of IPv4; let it bind to 0.0.0.0 (IPv6 does not count, also not [::] of IPv6 only), or see what it logs: atoll logs -a billing."},
		"wrong protocol": {to: "api.billing.internal", port: 3000, udp: true,
			sentence: "does not reach api.billing.internal on 3000/udp: billing/api-1 listens on port 3000 for TCP and not for UDP; use TCP, or let it listen for both."},
		"UDP works": {to: "api.billing.internal", port: 53, udp: true, given: func(w *world) {
			w.sockets["/ns/billing-api-1"] = []platform.Listener{listener("udp", "0.0.0.0:53")}
			w.sockets["/ns/billing-api-2"] = []platform.Listener{listener("udp", "0.0.0.0:53")}
		}, sentence: "reaches api.billing.internal on 53/udp: each of its 2 addresses listens, and the datagram was not refused (UDP tells no more)."},
		"web on port 80": {to: "shop-web.internal", port: 80,
			sentence: "does not reach shop-web.internal on 80/tcp: port 80 is the router's, and shop-web/web-1 listens on $PORT, which is 8080; connect to port 8080."},
		"scaled to 0":                   {to: "worker.billing.internal", port: 1, sentence: "does not reach worker.billing.internal on 1/tcp: worker of billing is scaled to 0; run atoll scale worker:1 -a billing."},
		"number of nobody, scaled to 0": {to: "1.worker.billing.internal", port: 1, sentence: "does not reach 1.worker.billing.internal on 1/tcp: worker of billing is scaled to 0; run atoll scale worker:1 -a billing."},
		"no web":                        {to: "billing.internal", port: 3000, sentence: "does not reach billing.internal on 3000/tcp: billing.internal means the type web, which billing does not have; use api.billing.internal or worker.billing.internal."},
		"never deployed":                {to: "brand-new.internal", port: 8080, sentence: "does not reach brand-new.internal on 8080/tcp: brand-new has never been deployed; run atoll deploy -a brand-new."},
		"typo in the app": {to: "api.biling.internal", port: 3000,
			sentence: "does not reach api.biling.internal on 3000/tcp: there is no app biling in its project; did you mean api.billing.internal?"},
		"typo in the type": {to: "2.apy.billing.internal", port: 3000,
			sentence: "does not reach 2.apy.billing.internal on 3000/tcp: billing has no process type apy; did you mean 2.api.billing.internal?"},
		"swapped":           {to: "billing.api.internal", port: 3000, sentence: "there is no app api in its project; did you mean api.billing.internal?"},
		"label as number":   {to: "api-2.billing.internal", port: 3000, sentence: "did you mean 2.api.billing.internal"},
		"typo without zone": {to: "biling", port: 3000, sentence: "there is no name biling; did you mean billing.internal?"},
		"wrong zone":        {to: "billing.local", port: 3000, sentence: "billing.local is no name of the private network; use billing.internal"},
		"nothing like it":   {to: "zzzzzzzz.internal", port: 3000, sentence: "there is no app zzzzzzzz in its project, which has billing, brand-new, shop-web"},
		"no such type":      {to: "frontend.billing.internal", port: 3000, sentence: "billing has no process type frontend; use api.billing.internal or worker.billing.internal"},
		"no such number":    {to: "7.api.billing.internal", port: 3000, sentence: "billing has no container api-7; it has api-1, api-2 (api.billing.internal means all of them)"},
		"postdeploy":        {to: "postdeploy.billing.internal", port: 1, sentence: "containers of the type postdeploy have names of their own only, such as 1.postdeploy.billing.internal"},
		"ended one-off":     {to: "7.one-off.billing.internal", port: 1, sentence: "one-off-7 of billing has ended, or never was: containers of the type one-off have a name while they run; none runs now."},
		"ended one-off, and one that runs": {to: "7.one-off.billing.internal", port: 1, given: func(w *world) { w.start("ap-billing", "billing", "one-off", 9, "10.240.0.9") },
			sentence: "containers of the type one-off have a name while they run; now there is one-off-9."},
		"an app's name on the internet": {to: "billing.strpe.com", port: 443, sentence: "the name billing.strpe.com does not exist on the internet; check its spelling"},
		"typo in the zone":              {to: "api.billing.internl", port: 3000, sentence: "the name api.billing.internl does not exist; did you mean api.billing.internal?"},
		"another project": {to: "tracker.internal", port: 8080,
			sentence: "does not reach tracker.internal on 8080/tcp: tracker is in the project lab and shop-web in shop, and private networks of projects never meet; put both into one project, or use the public address of tracker."},
		"another's app does not exist": {to: "hidden-app.internal", port: 8080, sentence: "there is no app hidden-app in its project, which has billing"},
		"outside name of nobody":       {to: "www.exmaple.com", port: 443, sentence: "the name www.exmaple.com does not exist on the internet; check its spelling"},
		"UDP to the machine's own network": {to: "192.168.1.53", port: 53, udp: true, given: func(w *world) { w.silent[netip.MustParseAddr("192.168.1.53")] = true },
			sentence: "does not reach 192.168.1.53 on 53/udp: containers reach public addresses only; ask the operator for --allow-private 192.168.1.53/32."},
		"TCP to the machine's own network": {to: "192.168.1.53", port: 53, given: func(w *world) { w.silent[netip.MustParseAddr("192.168.1.53")] = true },
			sentence: "does not reach 192.168.1.53 on 53/tcp: containers reach public addresses only; ask the operator for --allow-private 192.168.1.53/32."},
		"UDP to the internet": {to: "203.0.113.53", port: 53, udp: true, given: func(w *world) { w.silent[netip.MustParseAddr("203.0.113.53")] = true },
			sentence: "may well reach 203.0.113.53 on 53/udp: 203.0.113.53 was sent a datagram, which was not refused (UDP tells no more)."},
		"crash loop": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.answers["api.billing.internal."] = answer{code: "NOERROR"}
			for _, id := range []string{"billing-api-1", "billing-api-2"} {
				w.change(id, func(i *platform.Instance) {
					i.State, i.Reason, i.Restarts, i.Observation = platform.InstanceCrashed, "ended with code 3", 5, platform.Observation{}
				})
				w.sockets["/ns/"+id] = nil
			}
		}, sentence: "does not reach api.billing.internal on 3000/tcp: api has no container that is ready: api-1: it crashed (ended with code 3), 5 times so far; see atoll logs -a billing."},
		"crashed, asked by number": {to: "1.api.billing.internal", port: 3000, given: func(w *world) {
			w.answers["1.api.billing.internal."] = answer{code: "NOERROR", addrs: addrs("10.240.0.2")}
			w.change("billing-api-1", func(i *platform.Instance) {
				i.State, i.Reason, i.Restarts = platform.InstanceCrashed, "ended with code 3", 5
			})
			w.sockets["/ns/billing-api-1"] = nil
		}, sentence: "billing/api-1 does not run: it crashed (ended with code 3), 5 times so far; see atoll logs -a billing."},
		"web not ready": {to: "shop-web.internal", port: 8080, given: func(w *world) {
			w.answers["shop-web.internal."] = answer{code: "NOERROR"}
			w.change("shop-web-web-1", func(i *platform.Instance) {
				i.Observation = platform.Observation{Listeners: []platform.Listener{listener("tcp", "127.0.0.1:8080")}}
			})
		}, sentence: "web has no container that is ready: web-1 listens on 127.0.0.1:8080; the router reaches 0.0.0.0:8080. Bind to 0.0.0.0"},
		"draining": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.answers["api.billing.internal."] = answer{code: "NOERROR"}
			for _, id := range []string{"billing-api-1", "billing-api-2"} {
				w.change(id, func(i *platform.Instance) { i.State = platform.InstanceDraining })
			}
		}, sentence: "api-1: it is being stopped"},
		"denied": {to: "api.billing.internal", port: 3000, given: func(w *world) { w.denied, w.drops = true, map[string]uint64{} },
			sentence: "does not reach api.billing.internal on 3000/tcp: the policy of the project denies it; run atoll policy allow \"shop-web:web -> billing:api 3000/tcp\" -a shop-web."},
		"denied, and one of two on loopback": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.denied, w.drops = true, map[string]uint64{}
			w.sockets["/ns/billing-api-1"] = []platform.Listener{listener("tcp", "127.0.0.1:3000")}
		}, sentence: "does not reach api.billing.internal on 3000/tcp: the policy of the project denies it; run"},
		"denied, and the wrong port": {to: "api.billing.internal", port: 3001, given: func(w *world) { w.denied, w.drops = true, map[string]uint64{} },
			sentence: "does not reach api.billing.internal on 3001/tcp: billing/api-1 does not listen on port 3001 but on 0.0.0.0:3000/tcp; connect to that port, or change the port it listens on; once that is right ask again, for the policy of the project denies it too."},
		"denied UDP": {to: "api.billing.internal", port: 3000, udp: true, given: func(w *world) {
			w.denied, w.drops = true, map[string]uint64{}
			w.sockets["/ns/billing-api-1"] = []platform.Listener{listener("udp", "0.0.0.0:3000")}
		}, sentence: "does not reach api.billing.internal on 3000/udp: the policy of the project denies it"},
		"stuck": {to: "2.api.billing.internal", port: 3000, given: func(w *world) {
			w.answers["2.api.billing.internal."] = answer{code: "NOERROR", addrs: addrs("10.240.0.3")}
			w.silent[netip.MustParseAddr("10.240.0.3")] = true
		}, sentence: "10.240.0.3 does not answer: its program does not accept connections"},
		"address of nobody": {to: "10.240.3.9", port: 3000, sentence: "no container of its project has the address 10.240.3.9; addresses change with every new container, so use a name"},
		"eth0's address":    {to: "172.17.0.3", port: 3000, sentence: "172.17.0.3 is the outside address (eth0) of billing/api-1, and containers never reach each other there; use the name api.billing.internal"},
		"IPv6":              {to: "fd00::1", port: 3000, sentence: "containers have no IPv6"},
		"resolver silent": {to: "api.billing.internal", port: 3000, given: func(w *world) {
			w.answers["api.billing.internal."] = answer{err: fmt.Errorf("cannot ask: %w", os.ErrDeadlineExceeded)}
		}, sentence: "its resolver 172.17.0.1 does not answer (i/o timeout); run atoll doctor on the machine"},
		"upstream down": {to: "www.example.com", port: 443, given: func(w *world) { w.answers["www.example.com."] = answer{code: "SERVFAIL"} },
			sentence: "www.example.com cannot be resolved (SERVFAIL), because the machine's own resolvers do not answer or fail themselves; run atoll doctor on the machine"},
		"refused by the upstream": {to: "www.example.com", port: 443, given: func(w *world) { w.answers["www.example.com."] = answer{code: "REFUSED"} },
			sentence: "www.example.com cannot be resolved: the machine's own resolvers answer with REFUSED; ask who runs them"},
		"route damaged": {to: "10.240.0.2", port: 3001, given: func(w *world) {
			w.sockets["/ns/billing-api-1"] = []platform.Listener{listener("tcp", "0.0.0.0:3001")}
			w.silent[netip.MustParseAddr("10.240.0.2")] = true
			w.ways[netip.MustParseAddr("10.240.0.2")] = Way{Link: "eth0"}
		}, sentence: "packets to 10.240.0.2 leave by eth0 and not by pn0; the network of shop-web/web-1 is damaged, so restart it: atoll restart web-1 -a shop-web"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tt.given != nil {
				tt.given(w)
			}
			protocol := "tcp"
			if tt.udp {
				protocol = "udp"
			}
			r := w.ask(tt.to, tt.port, protocol)
			if !strings.Contains(r.Sentence, tt.sentence) {
				t.Errorf("the sentence is\n  %s\nwant\n  %s\nsteps: %+v", r.Sentence, tt.sentence, r.Steps)
			}
			if works := (strings.Contains(r.Sentence, "web-1 reaches") || strings.Contains(r.Sentence, "may well reach")) && !strings.Contains(r.Sentence, "only:"); r.Works != works {
				t.Errorf("works: %v, but: %s", r.Works, r.Sentence)
			}
			if len(r.Steps) < 2 || r.Steps[0].Name != "from" {
				t.Errorf("steps: %+v", r.Steps)
			}
		})
	}
}

// TestOwnType: a container that asks for its own type finds itself among the
// addresses. It goes there by lo, whatever the policy says.
func TestOwnType(t *testing.T) {
	w := newWorld(t)
	w.drops = map[string]uint64{}
	w.denied = true
	r := w.ask("shop-web.internal", 8080, "tcp")
	if !r.Works || strings.Contains(fmt.Sprint(r.Steps), string(Failed)) {
		t.Errorf("alone: %s\n%+v", r.Sentence, r.Steps)
	}
	if !strings.Contains(fmt.Sprint(r.Steps), "10.240.0.1 is the container itself") {
		t.Errorf("the route is not said to be its own: %+v", r.Steps)
	}
	w.denied = false
	w.start("ap-web", "shop-web", "web", 2, "10.240.0.4", listener("tcp", "0.0.0.0:8080"))
	w.answers["shop-web.internal."] = answer{code: "NOERROR", addrs: addrs("10.240.0.1", "10.240.0.4")}
	if r := w.ask("shop-web.internal", 8080, "tcp"); !r.Works || !strings.Contains(fmt.Sprint(r.Steps), "to 10.240.0.4 by pn0") {
		t.Errorf("with another: %s\n%+v", r.Sentence, r.Steps)
	}
	w.silent[netip.MustParseAddr("10.240.0.4")] = true
	if r := w.ask("shop-web.internal", 8080, "tcp"); !strings.Contains(r.Sentence, "at 1 of its 2 addresses only: 10.240.0.4 does not answer") {
		t.Error(r.Sentence)
	}
}

// A rule may stand for more than the switch takes.
func TestAPolicyThatMayNotBeWhole(t *testing.T) {
	w := newWorld(t)
	w.drops, w.rule, w.warning = map[string]uint64{}, "*:* -> billing:api 3000/tcp", "it is too large"
	r := w.ask("api.billing.internal", 3000, "tcp")
	want := Step{"policy", Warning, "the rule *:* -> billing:api 3000/tcp allows it, but it is too large"}
	if !r.Works || !slices.Contains(r.Steps, want) {
		t.Errorf("works: %v, steps %+v", r.Works, r.Steps)
	}
}

func TestQuestionsThatAreWrong(t *testing.T) {
	w := newWorld(t)
	d := New(Config{Roster: w.roster, Directory: w.directory, Store: w, Inside: w})
	good := Question{App: platform.App{ID: "ap-web", Name: "shop-web"}, Container: "web", To: "a.internal", Protocol: "tcp", Port: 1}
	for says, change := range map[string]func(*Question){
		"must be tcp or udp":                             func(q *Question) { q.Protocol = "sctp" },
		"from 1 to 65535":                                func(q *Question) { q.Port = 0 },
		"without scheme, path or port":                   func(q *Question) { q.To = "http://a.internal" },
		"give the port by itself":                        func(q *Question) { q.To = "a.internal:80" },
		"shop-web has no container web-2; it has: web-1": func(q *Question) { q.Container = "web-2" },
		"nothing of it runs":                             func(q *Question) { q.App = platform.App{ID: "ap-new", Name: "brand-new"} },
	} {
		q := good
		change(&q)
		if _, err := d.Diagnose(t.Context(), q); err == nil || platform.CodeOf(err) == "" || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", q, err, says)
		}
	}
	w.change("shop-web-web-1", func(i *platform.Instance) {
		i.NetnsPath = ""
		i.State = platform.InstanceFailed
		i.Reason = "no memory"
	})
	if _, err := d.Diagnose(t.Context(), good); platform.CodeOf(err) != platform.CodeConflict || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("a container without network: %v", err)
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{"billng": "billing", "BILLING": "billing", "bililng": "billing", "web": "", "catalgo": "catalog", "x": ""} {
		if got, _ := nearest(word, []string{"billing", "catalog", "shop-web"}); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
