package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// runtimeClient is a program that opens new connections by name, with the
// look-up that its language brings along.
type runtimeClient struct {
	name string
	// build makes it in the folder of the app, from the folder of the
	// sources; nil for what the stack can run as it is.
	build func(sources, app string) error
	// command runs it inside the container; name, port and count follow.
	command []string
}

// connections are how many each opens to a name.
const connections = 300

var runtimeClients = []runtimeClient{
	{"glibc", compileC("gcc", "glibc"), []string{"/app/glibc"}},
	{"musl", compileC("musl-gcc", "musl", "-static"), []string{"/app/musl"}},
	{"Go", compileGo("netgo", "0"), []string{"/app/netgo"}},
	{"Go with cgo", compileGo("cgo", "1"), []string{"/usr/bin/env", "GODEBUG=netdns=cgo", "/app/cgo"}},
	// Its programs find their libraries through /proc/self, which is not
	// theirs here: the test enters the container's files, not its processes.
	{"Java", compileJava, []string{"/usr/bin/env", "LD_LIBRARY_PATH=/app/java/lib:/app/java/lib/server", "/app/java/bin/java", "-cp", "/app/classes", "Client"}},
	{"Python", nil, []string{"/usr/bin/python3", "/app/client.py"}},
	{"Node.js", nil, []string{"/usr/bin/node", "/app/client.js"}},
	{"curl", nil, []string{"/bin/sh", "-c", `for i in $(seq "$2"); do curl -sS -o /dev/null -w '%{remote_ip}\n' "http://$0:$1/" || exit 1; done`}},
}

// TestBalance connects again and again to a private type with three
// containers, by its name, from each runtime: every container gets its part
// of the connections.
func TestBalance(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "balance")
	server, client := m.App(t, project, "balance-server"), m.App(t, project, "balance-client")
	server.Must(t, "scale", "web:0")
	server.Deploy(t, rig.Probe(t, "1", rig.Types{"api": "--private"}))
	server.Must(t, "scale", "api:3")
	var addrs []string
	for _, c := range server.Ps(t) {
		addrs = append(addrs, c.Atoll.PrivateIP)
	}
	folder, missing := clientFolder(t)
	client.Must(t, "scale", "web:0")
	client.Deploy(t, folder)
	client.Must(t, "scale", "client:1")
	from := client.Container(t, "client-1")
	short := "api.balance-server.internal"
	for _, c := range runtimeClients {
		t.Run(c.name, func(t *testing.T) {
			if err := missing[c.name]; err != nil {
				t.Skipf("the runtime is not on this machine (scripts/setup.sh e2e installs it): %v", err)
			}
			var shares []string
			for _, name := range []string{short, server.LongName(t, short+".")} {
				shares = append(shares, wantBalanced(t, from, c, name, addrs))
			}
			rig.Report(t, "names: balance, "+c.name, "%s of %d connections by the short name, %s by the long one", shares[0], connections, shares[1])
		})
	}
}

// wantBalanced: each of the three containers gets between 0.2 and 0.5 of the
// connections. Of 300 that is 4.9 standard deviations from the average to the
// nearer end. It returns the shares.
func wantBalanced(t *testing.T, from rig.Container, c runtimeClient, name string, addrs []string) (shares string) {
	t.Helper()
	args := append(slices.Clone(c.command[1:]), name, "3000", fmt.Sprint(connections))
	out, err := from.RunWithin(t, 3*time.Minute, c.command[0], args...) // of curl, each connection is a process
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]int{}
	for line := range strings.Lines(out) {
		reached[strings.TrimSpace(line)]++
	}
	total := 0
	for _, a := range addrs {
		share := float64(reached[a]) / float64(connections)
		shares += fmt.Sprintf(" %.2f", share)
		if total += reached[a]; share < 0.2 || share > 0.5 {
			t.Errorf("%s reached %s with %d of %d connections to %s", c.name, a, reached[a], connections, name)
		}
	}
	if len(addrs) != 3 || total != connections {
		t.Errorf("%s reached %v, want %d connections to %v", c.name, reached, connections, addrs)
	}
	return strings.TrimSpace(shares)
}

// clientFolder makes the app of the clients, and says which of them this
// machine cannot make.
func clientFolder(t *testing.T) (app string, missing map[string]error) {
	t.Helper()
	sources, err := filepath.Abs(filepath.Join("testdata", "balance"))
	if err != nil {
		t.Fatal(err)
	}
	app = rig.Folder(t, map[string]string{"Procfile": "client: sleep infinity\n"})
	for _, name := range []string{"client.py", "client.js"} {
		text, err := os.ReadFile(filepath.Join(sources, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(app, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	missing = map[string]error{}
	for _, c := range runtimeClients {
		if c.build == nil {
			continue
		}
		if err := c.build(sources, app); err != nil {
			missing[c.name] = err
		}
	}
	return app, missing
}

func compileC(compiler, program string, flags ...string) func(sources, app string) error {
	return func(sources, app string) error {
		return run(nil, compiler, append(flags, "-O1", "-o", filepath.Join(app, program), filepath.Join(sources, "client.c"))...)
	}
}

func compileGo(program, cgo string) func(sources, app string) error {
	return func(sources, app string) error {
		return run([]string{"CGO_ENABLED=" + cgo}, "go", "build", "-o", filepath.Join(app, program), filepath.Join(sources, "go", "main.go"))
	}
}

// compileJava brings a runtime of the least that Java needs.
func compileJava(sources, app string) error {
	if err := run(nil, "javac", "-d", filepath.Join(app, "classes"), filepath.Join(sources, "java", "Client.java")); err != nil {
		return err
	}
	return run(nil, "jlink", "--add-modules", "java.base", "--no-header-files", "--no-man-pages", "--compress=2", "--output", filepath.Join(app, "java"))
}

func run(environment []string, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
