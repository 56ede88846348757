package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/atollhq/atoll/internal/doctor"
	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
)

// Checks are what must be in order before a server with this configuration
// starts. They change nothing, and send nothing to anybody.
//
// A server that ran here before is needed by what runs: without it there are
// no names and no router. So where it can do without something, it starts and
// warns.
func Checks(cfg Config) []doctor.Check { return required(cfg, 0, atHome(cfg)) }

// atHome reports whether a server with this configuration came as far as to
// lock its folder.
func atHome(cfg Config) bool {
	_, err := os.Stat(filepath.Join(cfg.DataDir, lockName))
	return err == nil
}

// required is Checks, on a machine where the process running (0: none) is a
// server of this configuration. lenient is for a server that is at home.
func required(cfg Config, running int, lenient bool) []doctor.Check {
	dispensable := []doctor.Check{
		doctor.File("stack image", filepath.Join(cfg.stackLayout(), "index.json"),
			"build it with stack/build-stack.sh "+cfg.StackDir+", or set stack_dir to where it is"),
		doctor.File("resolv.conf", cfg.ResolvConf, "set resolv_conf to a file with a nameserver line"),
	}
	if lenient {
		for i, c := range dispensable {
			dispensable[i] = c.WithoutFailure()
		}
	}
	checks := []doctor.Check{
		doctor.Root(),
		doctor.Kernel(5, 10),
		{Name: "private network", Run: probePrivate},
		outsideNetwork(cfg),
		doctor.Overlay(),
		doctor.Cgroups(),
		doctor.Program("runc", "runc"),
		doctor.Program("nft", "nftables"),
		doctor.Disk(cfg.DataDir, lenient),
	}
	checks = append(checks, dispensable...)
	checks = append(checks,
		doctor.Port("API port", cfg.APIListen, "api_listen", running),
		doctor.Port("HTTP port", cfg.HTTPListen, "http_listen", running),
	)
	if cfg.Containerd == "" {
		checks = append(checks, doctor.Program("containerd", "containerd"), doctor.Program("containerd-shim-runc-v2", "containerd"))
	} else {
		checks = append(checks, doctor.File("containerd", cfg.Containerd, "start containerd, or leave the setting containerd empty so that a private one is started"))
	}
	if path, err := loggerPath(cfg); err == nil {
		checks = append(checks, doctor.File("log writer", path, "install atoll-logger beside atoll, or set logger"))
	}
	return checks
}

func probePrivate(context.Context) (string, error) {
	var errs []error
	for _, p := range privnet.Probe() {
		errs = append(errs, errors.New(p.String()))
	}
	return "eBPF, veth and the BPF file system were tried", errors.Join(errs...)
}

// outsideNetwork tries the containers' way out, and looks who else has its
// range.
func outsideNetwork(cfg Config) doctor.Check {
	return doctor.Check{Name: "outside network", Run: func(context.Context) (string, error) {
		oc, err := cfg.outside()
		if err != nil {
			return "", err
		}
		if err := outside.Conflict(oc); err != nil {
			return "", err
		}
		if err := outside.Probe(oc); err != nil {
			return "", err
		}
		return oc.Prefix.String() + " is free for it; bridge and rules were tried", nil
	}}
}

// outside is the configuration of the outside network, without a log.
func (c Config) outside() (outside.Config, error) {
	prefix, err := c.outsidePrefix()
	if err != nil {
		return outside.Config{}, err
	}
	mtu, err := c.outsideMTU()
	return outside.Config{Prefix: prefix, MTU: mtu}, err
}
