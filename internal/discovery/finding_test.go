package discovery

import (
	"testing"

	"github.com/atollhq/atoll/internal/platform"
)

func TestExplain(t *testing.T) {
	running := func(processType string, sockets ...Socket) platform.Instance {
		inst := instance("x", processType)
		for _, s := range sockets {
			inst.Observation.Listeners = append(inst.Observation.Listeners, s.Listener)
		}
		return inst
	}
	in := func(s platform.InstanceState, why string) platform.Instance {
		inst := running("web")
		inst.State, inst.Reason = s, why
		return inst
	}
	isReady := running("web", socket("tcp", "127.0.0.1:9"))
	isReady.Observation.Ready = true
	for _, c := range []struct {
		why  string
		inst platform.Instance
		want string
	}{
		{"loopback", running("web", socket("tcp", "127.0.0.1:8080")),
			"web-1 listens on 127.0.0.1:8080; the router reaches 0.0.0.0:8080. Bind to 0.0.0.0 instead of one address."},
		{"localhost is IPv6", running("web", socket("tcp", "[::1]:8080")),
			"web-1 listens on [::1]:8080; the router reaches 0.0.0.0:8080. Bind to 0.0.0.0 instead of one address."},
		{"private only", running("tcp", socket("tcp", "10.240.0.2:8080")),
			"tcp-1 listens on 10.240.0.2:8080; the router reaches 0.0.0.0:8080. Bind to 0.0.0.0 instead of one address."},
		{"another port", running("web", socket("tcp", "127.0.0.1:1"), socket("tcp", "0.0.0.0:3000")),
			"web-1 listens on 127.0.0.1:1, 0.0.0.0:3000; the router reaches 0.0.0.0:8080. Use the port in $PORT, and bind to 0.0.0.0."},
		{"UDP", running("web", socket("udp", "0.0.0.0:8080"), socket("udp", "0.0.0.0:53")),
			"web-1 listens on 0.0.0.0:8080 (UDP); the router reaches 0.0.0.0:8080 over TCP. Listen on TCP, or rename the process type if it is a private service."},
		{"nothing", running("web"),
			"web-1 listens on no IPv4 port; the router reaches 0.0.0.0:8080. Listen on 0.0.0.0 and the port in $PORT (8080), or scale web to 0 if it needs no public address."},
		{"stuck", running("web", socket("tcp", "0.0.0.0:8080")),
			"web-1 listens on 0.0.0.0:8080 but accepts no connection. The program seems to be stuck: see what it logs while it starts."},
		{"ready", isReady, ""},
		{"waiting", in(platform.InstanceStarting, "the network is full"), "web-1 waits: the network is full. It starts by itself as soon as there is room."},
		{"starting", in(platform.InstanceStarting, ""), "web-1 has not started yet. Look at the start command and the machine's load."},
		{"crashed", in(platform.InstanceCrashed, "it exited with code 3"), "web-1 does not run: it exited with code 3. Its last lines are in the app's logs."},
		{"failed without words", in(platform.InstanceFailed, ""), "web-1 does not run: it has failed. Its last lines are in the app's logs."},
		{"private loopback", running("api", socket("tcp", "127.0.0.1:3000")),
			"api-1 listens on 127.0.0.1:3000 only; other containers cannot reach it there. Bind to $SCALINGO_PRIVATE_HOSTNAME or to 0.0.0.0."},
		{"private and loopback", running("api", socket("tcp", "127.0.0.1:3000"), socket("tcp", "10.240.0.2:3000")), ""},
		{"worker", running("worker"), ""},
		{"many", running("api", socket("tcp", "127.0.0.1:1"), socket("tcp", "127.0.0.1:2"), socket("tcp", "127.0.0.1:3"),
			socket("tcp", "127.0.0.1:4"), socket("tcp", "127.0.0.1:5"), socket("tcp", "127.0.0.1:6"), socket("tcp", "127.0.0.1:7")),
			"api-1 listens on 127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4, 127.0.0.1:5, 2 more only; other containers cannot reach it there. Bind to $SCALINGO_PRIVATE_HOSTNAME or to 0.0.0.0."},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := Explain(c.inst); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
