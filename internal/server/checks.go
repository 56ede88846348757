package server

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/atollhq/atoll/internal/doctor"
	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
)

// Checks are what must be in order before a server with this configuration
// starts. They change nothing, and send nothing to anybody.
func Checks(cfg Config) []doctor.Check { return required(cfg, 0) }

// required is Checks, on a machine where the process running (0: none) is a
// server of this configuration.
func required(cfg Config, running int) []doctor.Check {
	checks := []doctor.Check{
		doctor.Root(),
		doctor.Kernel(5, 10),
		{Name: "private network", Run: probePrivate},
		outsideNetwork(cfg),
		doctor.Overlay(),
		doctor.Cgroups(),
		doctor.Program("runc", "runc"),
		doctor.Program("nft", "nftables"),
		doctor.Disk(cfg.DataDir),
		doctor.File("stack image", filepath.Join(cfg.StackDir, stackName+".oci", "index.json"),
			"build it with stack/build-stack.sh "+cfg.StackDir+", or set stack_dir to where it is"),
		doctor.File("resolv.conf", cfg.ResolvConf, "set resolv_conf to a file with a nameserver line"),
		doctor.Port("API port", cfg.APIListen, "api_listen", running),
		doctor.Port("HTTP port", cfg.HTTPListen, "http_listen", running),
	}
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
