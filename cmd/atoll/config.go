package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/atollhq/atoll/internal/server"
)

const defaultConfigFile = "/etc/atoll/atoll.yml"

// configFlags adds --config and one flag per setting to a command and
// returns what reads them: defaults, then the file, then flags that were
// given.
func configFlags(cmd *cobra.Command) func() (server.Config, error) {
	flags := cmd.Flags()
	file := flags.String("config", defaultConfigFile, "config file (YAML); every other flag is a key of it, with _ for -")
	defaults := server.DefaultConfig()
	defaults.Node = "" // the host name differs between machines; help must not
	given := defaults
	bind(flags, &given, defaults)
	return func() (server.Config, error) {
		c, err := server.ReadConfig(*file)
		if errors.Is(err, fs.ErrNotExist) && !flags.Changed("config") {
			c, err = server.DefaultConfig(), nil
		}
		if err != nil {
			return c, err
		}
		flags.Visit(func(f *pflag.Flag) { override(&c, given, f.Name) })
		return c, c.Validate()
	}
}

// setting is a string setting: its flag, where it is, what it does.
type setting struct {
	flag  string
	field func(*server.Config) *string
	help  string
}

var settings = []setting{
	{"data-dir", func(c *server.Config) *string { return &c.DataDir }, "what must survive a reboot: database, logs, images"},
	{"run-dir", func(c *server.Config) *string { return &c.RunDir }, "what belongs to this boot: namespaces, sockets"},
	{"stack-dir", func(c *server.Config) *string { return &c.StackDir }, "where the stack image is, as stack/build-stack.sh wrote it"},
	{"base-domain", func(c *server.Config) *string { return &c.BaseDomain }, "what public names end in: <app>.<base domain>"},
	{"region", func(c *server.Config) *string { return &c.Region }, "name of the region"},
	{"node", func(c *server.Config) *string { return &c.Node }, "name of this machine (default: its host name)"},
	{"api-listen", func(c *server.Config) *string { return &c.APIListen }, "host:port of the API"},
	{"http-listen", func(c *server.Config) *string { return &c.HTTPListen }, "host:port of the HTTP router"},
	{"api-url", func(c *server.Config) *string { return &c.APIURL }, "the API as clients reach it (default: as their requests say)"},
	{"public-port", func(c *server.Config) *string { return &c.PublicPort }, "port of the router as clients see it (default: that of --http-listen)"},
	{"outside-prefix", func(c *server.Config) *string { return &c.OutsidePrefix }, "range of the containers' eth0"},
	{"outside-mtu", func(c *server.Config) *string { return &c.OutsideMTU }, "largest packet of the containers' eth0, in bytes"},
	{"resolv-conf", func(c *server.Config) *string { return &c.ResolvConf }, "where the upstream resolvers are read from"},
	{"containerd", func(c *server.Config) *string { return &c.Containerd }, "socket of a running containerd (default: start a private one)"},
	{"cgroup-parent", func(c *server.Config) *string { return &c.CgroupParent }, "cgroup that all containers are below"},
	{"bpffs", func(c *server.Config) *string { return &c.BPFFS }, "where the eBPF maps are pinned"},
	{"logger", func(c *server.Config) *string { return &c.Logger }, "path of atoll-logger (default: beside atoll)"},
	{"repair-every", func(c *server.Config) *string { return &c.RepairEvery }, "time between two looks at the networks; 0: at each start only"},
	{"log-level", func(c *server.Config) *string { return &c.LogLevel }, "debug, info, warn or error"},
}

func bind(flags *pflag.FlagSet, target *server.Config, defaults server.Config) {
	for _, s := range settings {
		flags.StringVar(s.field(target), s.flag, *s.field(&defaults), s.help)
	}
	flags.IntVar(&target.MaxContainers, "max-containers", defaults.MaxContainers, "the most containers of a process type")
	flags.StringSliceVar(&target.AllowPrivate, "allow-private", nil, "private ranges around the machine that containers may reach by eth0 (default: none)")
	flags.StringSliceVar(&target.TrustedProxies, "trusted-proxies", nil, "ranges whose X-Forwarded-* headers are believed")
}

func override(c *server.Config, given server.Config, flag string) {
	switch flag {
	case "trusted-proxies":
		c.TrustedProxies = given.TrustedProxies
	case "allow-private":
		c.AllowPrivate = given.AllowPrivate
	case "max-containers":
		c.MaxContainers = given.MaxContainers
	}
	for _, s := range settings {
		if s.flag == flag {
			*s.field(c) = *s.field(&given)
		}
	}
}

// stderrIsTerminal decides between a log for people and one for machines.
func stderrIsTerminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
