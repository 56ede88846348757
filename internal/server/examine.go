package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/doctor"
	"github.com/atollhq/atoll/internal/engine/containerd"
	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/resolver"
	"github.com/atollhq/atoll/internal/upkeep"
)

// Examination is everything `atoll doctor` looks at: the checks of a start,
// what else on the machine may be in the way, and the server that runs, if one
// does. It changes nothing, and sends packets to the upstream resolvers and to
// this machine only.
func Examination(cfg Config) []doctor.Check {
	running, err := doctor.LockHolder(filepath.Join(cfg.DataDir, lockName))
	upstreams := func() ([]netip.AddrPort, error) { return resolver.ReadResolvConf(cfg.ResolvConf) }
	behind := func() ([]netip.AddrPort, error) { return resolver.ReadResolvConf(behindStub) }
	mtu, _ := cfg.outsideMTU() // Validate has refused a wrong one
	checks := append(required(cfg, running, false),
		doctor.Check{Name: "private range", Run: privateRange},
		doctor.Settings(outside.DefaultBridge, running != 0),
		doctor.Check{Name: "room", Run: examineRoom},
		doctor.Forwarding(cfg.bridge()),
		doctor.Upstreams(upstreams),
		doctor.PathMTU(doctor.Behind(upstreams, behind), mtu, "outside_mtu"),
		doctor.Clock(append(ownFiles(), filepath.Join(cfg.DataDir, databaseName))...),
		doctor.Check{Name: "server", Run: func(ctx context.Context) (string, error) {
			if err != nil {
				return "", err
			}
			return examineServer(ctx, cfg, running)
		}},
	)
	if running != 0 {
		checks = append(checks, doctor.Check{Name: "networks", Run: func(context.Context) (string, error) { return examineNetworks(cfg, time.Now()) }})
	}
	if cfg.Containerd != "" || running != 0 {
		checks = append(checks, doctor.Check{Name: "engine", Run: func(ctx context.Context) (string, error) { return examineEngine(ctx, cfg) }})
	}
	return checks
}

// behindStub is where systemd-resolved names the resolvers that it asks.
const behindStub = "/run/systemd/resolve/resolv.conf"

// privateRange warns of networks that containers cannot see for the private
// one.
func privateRange(context.Context) (string, error) {
	hidden, err := outside.HiddenByPrivate(outside.Config{})
	if err != nil {
		return "", err
	}
	if len(hidden) > 0 {
		return "", doctor.Warn("private networks use %s: containers cannot reach hosts of %s; give hosts that apps need other addresses", platform.NetworkPrefix, strings.Join(hidden, ", nor of "))
	}
	return platform.NetworkPrefix.String() + " means nothing else here", nil
}

// examineRoom warns before the machine cannot take more containers.
func examineRoom(context.Context) (string, error) {
	used, room, err := outside.Room(outside.Config{})
	if err != nil {
		return "", err
	}
	if used*100 >= room*80 {
		return "", doctor.Warn("%d of the %d containers that this machine has room for are here: when it is full, starts fail; scale down, or use another machine", used, room)
	}
	return fmt.Sprintf("%d of %d containers", used, room), nil
}

// examineServer looks at the server of this configuration, which has the
// process id running.
func examineServer(ctx context.Context, cfg Config, running int) (string, error) {
	if running == 0 {
		if _, err := os.Stat(filepath.Join(cfg.DataDir, databaseName)); err != nil {
			return "none runs, and there is no database yet: atoll init makes it, atoll server starts it", nil
		}
		return "", doctor.Warn("none runs: names, deployments and visitors wait for it (containers and the connections between them go on); start it with atoll server")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+dialable(cfg.APIListen)+"/healthz", nil)
	if err != nil {
		return "", fmt.Errorf("cannot ask the server: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("process %d is the server, and its API at %s does not answer: it may be starting (the stack image is loaded then); if this stays so, read its log and restart it", running, cfg.APIListen)
	}
	if err := resp.Body.Close(); err != nil {
		return "", fmt.Errorf("cannot hear the server out: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("process %d is the server, and says it is not well (status %d): read its log, and look whether %s can be written", running, resp.StatusCode, cfg.DataDir)
	}
	return fmt.Sprintf("runs (process %d) and answers at %s", running, cfg.APIListen), nil
}

// examineNetworks tells what the running server's last look at its networks
// came to.
func examineNetworks(cfg Config, now time.Time) (string, error) {
	state, err := upkeep.ReadState(cfg.RunDir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", doctor.Warn("the server has not looked at its networks yet: ask again in a minute")
	}
	if err != nil {
		return "", err
	}
	ago := now.Sub(state.At).Round(time.Second)
	switch {
	case len(state.Report.Refused)+len(state.Workloads) > 0:
		return "", fmt.Errorf("the server refused %d removals of networks and %d of workloads, as most would be gone at once (%v ago): if the database or containerd's list was lost, bring it back; if they are to go, run atoll server --accept-removal", len(state.Report.Refused), len(state.Workloads), ago)
	case len(state.Failed) > 0:
		return "", fmt.Errorf("the networks of %d containers could not be repaired (%v ago): the server's log says why; restart their apps", len(state.Failed), ago)
	case state.Error != "":
		return "", fmt.Errorf("the last look at the networks (%v ago) could not be finished: %s", ago, state.Error)
	}
	found := fmt.Sprintf("as they should be %v ago, %d repairs since the server's start", ago, state.Repairs)
	if last := state.LastRepair; last != nil {
		found += fmt.Sprintf(", the last %v ago: %s: %s", now.Sub(last.At).Round(time.Second), last.Where, last.What)
	}
	return found, nil
}

// examineEngine asks containerd, which decides about starts and stops.
func examineEngine(ctx context.Context, cfg Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	version, address, err := containerd.Config{Address: cfg.Containerd, RunDir: filepath.Join(cfg.RunDir, engineName), DataDir: filepath.Join(cfg.DataDir, engineName)}.Version(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: containers go on, and cannot be started or stopped; the server's log says why", err)
	}
	return fmt.Sprintf("containerd %s answers at %s", strings.TrimPrefix(version, "v"), address), nil
}

// bridge is what firewalls have to let pass.
func (c Config) bridge() doctor.Bridge {
	b := doctor.Bridge{Name: outside.DefaultBridge, Port: platform.Port, OwnTables: "atoll"}
	b.Prefix, _ = c.outsidePrefix() // Validate has refused a wrong one
	if router, err := c.routerSocket(); err == nil && router.IsValid() {
		b.Public = []uint16{router.Port()}
	}
	return b
}

// dialable is an address to connect to a socket that listens on addr.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip, perr := netip.ParseAddr(host); err == nil && (host == "" || perr == nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// ownFiles are programs of ours, which were written in the past.
func ownFiles() []string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{self}
}
