package server

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/atollhq/atoll/internal/doctor"
	"github.com/atollhq/atoll/internal/privnet"
)

// Checks are what must be in order before a server with this configuration
// starts. They change nothing.
func Checks(cfg Config) []doctor.Check {
	checks := []doctor.Check{
		doctor.Root(),
		doctor.Kernel(5, 10),
		doctor.Cgroups(),
		doctor.Program("runc", "runc"),
		doctor.Program("nft", "nftables"),
		doctor.Disk(cfg.DataDir),
		doctor.File("stack image", filepath.Join(cfg.StackDir, stackName+".oci", "index.json"),
			"build it with stack/build-stack.sh "+cfg.StackDir+", or set stack_dir to where it is"),
		doctor.File("resolv.conf", cfg.ResolvConf, "set resolv_conf to a file with a nameserver line"),
		doctor.Port("API port", cfg.APIListen, "api_listen"),
		doctor.Port("HTTP port", cfg.HTTPListen, "http_listen"),
		{Name: "private network", Run: probe},
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

func probe(context.Context) error {
	var errs []error
	for _, p := range privnet.Probe() {
		errs = append(errs, errors.New(p.String()))
	}
	return errors.Join(errs...)
}
