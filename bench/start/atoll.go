package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/internal/engine/containerd"
	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/sandbox"
)

const runRef = "atoll.local/stack/atoll-12:run"

// atoll is the engine with both networks.
type atoll struct {
	cfg    containerd.Config
	engine *containerd.Engine
	roster *roster.Roster
}

func openAtoll(ctx context.Context, l *lab.Lab, dir, stack string) (*atoll, error) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	prefix := netip.MustParsePrefix("172.17.0.0/16")
	if err := os.MkdirAll(filepath.Join(l.Dir(), "netns"), 0o755); err != nil {
		return nil, err
	}
	private, err := privnet.Open(privnet.Config{Netns: filepath.Join(l.Dir(), "netns", "switch"), BPFFS: l.BPFFS(), Log: log})
	if err != nil {
		return nil, err
	}
	eth, err := outside.Open(outside.Config{Prefix: prefix, Log: log})
	if err != nil {
		return nil, err
	}
	boxes, err := sandbox.New(sandbox.Config{RunDir: l.Dir(), Private: private, Outside: eth, OutsidePrefix: prefix, Log: log})
	if err != nil {
		return nil, err
	}
	logger, err := filepath.Abs("bin/atoll-logger")
	if err != nil {
		return nil, err
	}
	a := &atoll{roster: roster.New()}
	a.cfg = containerd.Config{
		DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(l.Dir(), "engine"), LogDir: filepath.Join(dir, "logs"),
		LoggerPath: logger, CgroupParent: l.CgroupParent() + "/atoll", Node: "bench", Sink: a.roster, Network: network{boxes},
		ResolvConf: "nameserver 172.17.0.1\n", Log: log,
	}
	if a.engine, err = containerd.New(ctx, a.cfg); err != nil {
		return nil, err
	}
	if err := a.engine.ImportLayout(ctx, filepath.Join(stack, "atoll-12.oci"), runRef); err != nil {
		return nil, errors.Join(fmt.Errorf("%w (make stack builds the image)", err), a.close(ctx))
	}
	return a, nil
}

func (a *atoll) close(ctx context.Context) error {
	return errors.Join(a.engine.Close(), containerd.Purge(ctx, a.cfg))
}

func (a *atoll) start(ctx context.Context, n int) (time.Duration, error) {
	size, err := platform.SizeByName("S")
	if err != nil {
		return 0, err
	}
	w := platform.Workload{ID: platform.NewID(), AppID: platform.NewAppID(), AppName: "bench-start", Type: "sleeper", Kind: platform.KindApp,
		Generation: 1, Numbers: platform.Numbers(n), Network: platform.PrivateNetwork{ID: platform.NewNetworkID(), Key: 1},
		Image: runRef, Command: "sleep 1000", Size: size, Stack: "atoll-12", Region: "bench", StopGrace: time.Millisecond}
	begun := time.Now()
	if err := a.engine.Apply(ctx, w); err != nil {
		return 0, err
	}
	running := func(i platform.Instance) bool { return i.State == platform.InstanceRunning }
	if err := a.await(func(rows []platform.Instance) bool { return len(rows) == n && all(rows, running) }); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if err := a.engine.Remove(ctx, w.ID); err != nil {
		return 0, err
	}
	return took, a.await(func(rows []platform.Instance) bool { return len(rows) == 0 })
}

func (a *atoll) await(ok func([]platform.Instance) bool) error {
	limit := time.After(3 * time.Minute)
	for {
		rows, changed := a.roster.Snapshot()
		for _, i := range rows {
			if i.State == platform.InstanceFailed || i.State == platform.InstanceCrashed {
				return fmt.Errorf("%s: %s", i.Label(), i.Reason)
			}
		}
		if ok(rows) {
			return nil
		}
		select {
		case <-changed:
		case <-limit:
			return errors.New("the containers did not come or go within 3 minutes")
		}
	}
}

func all(rows []platform.Instance, ok func(platform.Instance) bool) bool {
	for _, i := range rows {
		if !ok(i) {
			return false
		}
	}
	return true
}

// network connects containers by sandboxes, as the server does.
type network struct{ *sandbox.Manager }

func (n network) Setup(ctx context.Context, r containerd.Request) (containerd.Sandbox, error) {
	s, err := n.Manager.Setup(ctx, sandbox.Request{InstanceID: r.InstanceID, Network: r.Network, Private: r.Private, Outside: r.Outside, PublicPort: r.PublicPort})
	return containerd.Sandbox{NetnsPath: s.NetnsPath, PrivateAddr: s.PrivateAddr, OutsideAddr: s.OutsideAddr}, err
}

func (n network) Restore(ctx context.Context, _ []containerd.Member) (lost []string, err error) {
	return nil, n.Manager.Restore(ctx, nil, false)
}
