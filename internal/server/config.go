package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/platform"
)

// Config is the configuration of a server: the fields of the config file,
// each of which is also a flag of `atoll server`.
type Config struct {
	// DataDir holds what must survive a reboot: database, logs, images.
	DataDir string `yaml:"data_dir"`
	// RunDir holds what belongs to this boot: namespaces, sockets.
	RunDir string `yaml:"run_dir"`
	// StackDir holds the stack's image layout, as `make stack` writes it.
	StackDir string `yaml:"stack_dir"`
	// BaseDomain is what public names end in: <app>.<base_domain>.
	BaseDomain string `yaml:"base_domain"`
	// Region is REGION_NAME in containers and in the API.
	Region string `yaml:"region"`
	// Node is the name of this machine in the roster.
	Node string `yaml:"node"`
	// APIListen and HTTPListen are host:port of the API and of the router.
	APIListen  string `yaml:"api_listen"`
	HTTPListen string `yaml:"http_listen"`
	// APIURL is the API as clients reach it; empty: as the request says.
	APIURL string `yaml:"api_url"`
	// PublicPort is the router's port as clients see it, when something in
	// front of it forwards from another one; empty: that of HTTPListen.
	PublicPort string `yaml:"public_port"`
	// TrustedProxies may set X-Forwarded-* (CIDR).
	TrustedProxies []string `yaml:"trusted_proxies"`
	// OutsidePrefix is the range of eth0 in containers.
	OutsidePrefix string `yaml:"outside_prefix"`
	// OutsideMTU is how large packets of eth0 in containers may be, in bytes.
	// It counts for containers that start from then on.
	OutsideMTU string `yaml:"outside_mtu"`
	// AllowPrivate are private ranges around the machine that containers may
	// reach by eth0 (CIDR).
	AllowPrivate []string `yaml:"allow_private"`
	// ResolvConf is where the upstream resolvers are read from.
	ResolvConf string `yaml:"resolv_conf"`
	// Containerd is the socket of a running containerd; empty: a private
	// one is started, which outlives the server.
	Containerd string `yaml:"containerd"`
	// CgroupParent is the cgroup all containers are below.
	CgroupParent string `yaml:"cgroup_parent"`
	// BPFFS is where the eBPF maps are pinned.
	BPFFS string `yaml:"bpffs"`
	// Logger is the path of the atoll-logger program; empty: beside atoll.
	Logger string `yaml:"logger"`
	// MaxContainers is the most containers that a process type may have.
	MaxContainers int `yaml:"max_containers"`
	// RepairEvery is the time between two looks at the networks, such as
	// "30s"; "0" means only one at each start.
	RepairEvery string `yaml:"repair_every"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
}

// DefaultConfig is the configuration of a server that was told nothing.
func DefaultConfig() Config {
	node, err := os.Hostname()
	if err != nil || node == "" {
		node = "node-1"
	}
	return Config{
		DataDir: "/var/lib/atoll", RunDir: "/run/atoll", StackDir: "/var/lib/atoll/stack",
		BaseDomain: "atoll.localhost", Region: "local", Node: node,
		APIListen: "127.0.0.1:7000", HTTPListen: ":80",
		OutsidePrefix: "172.17.0.0/16", OutsideMTU: "1500", ResolvConf: "/etc/resolv.conf",
		CgroupParent: "/atoll", BPFFS: "/run/atoll/bpf", RepairEvery: "30s", LogLevel: "info", MaxContainers: platform.MaxContainersPerType,
	}
}

// ReadConfig reads a YAML file over the defaults. Unknown keys are refused,
// so that a typing mistake is not a setting silently ignored.
func ReadConfig(path string) (Config, error) {
	c := DefaultConfig()
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return c, fmt.Errorf("cannot read the config file: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("cannot read the config file %s: %w", path, err)
	}
	return c, nil
}

var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Validate checks every field and makes the paths absolute. The error names
// all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	for _, p := range []*string{&c.DataDir, &c.RunDir, &c.StackDir, &c.BPFFS, &c.ResolvConf} {
		if *p == "" {
			errs = append(errs, errors.New("data_dir, run_dir, stack_dir, bpffs and resolv_conf must not be empty"))
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			errs = append(errs, err)
		}
		*p = abs
	}
	c.BaseDomain = strings.ToLower(strings.Trim(c.BaseDomain, "."))
	if !domainName.MatchString(c.BaseDomain) {
		errs = append(errs, fmt.Errorf("base_domain %q is no domain name; use one such as apps.example.com", c.BaseDomain))
	}
	for name, addr := range map[string]string{"api_listen": c.APIListen, "http_listen": c.HTTPListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("%s %q must be host:port or :port", name, addr))
		}
	}
	if n, err := strconv.Atoi(c.PublicPort); c.PublicPort != "" && (err != nil || n < 1 || n > 65535) {
		errs = append(errs, fmt.Errorf("public_port %q must be a number from 1 to 65535", c.PublicPort))
	}
	if _, err := c.outsidePrefix(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.outsideMTU(); err != nil {
		errs = append(errs, err)
	}
	if _, err := ranges("allow_private", c.AllowPrivate); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.trustedProxies(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.repairEvery(); err != nil {
		errs = append(errs, err)
	}
	if !strings.HasPrefix(c.CgroupParent, "/") || strings.Contains(c.CgroupParent, "..") {
		errs = append(errs, fmt.Errorf("cgroup_parent %q must begin with / and not lead upwards", c.CgroupParent))
	}
	if c.MaxContainers < 1 || c.MaxContainers > platform.MaxMembers {
		errs = append(errs, fmt.Errorf("max_containers must be 1 to %d, the containers that a private network has room for (it is %d)", platform.MaxMembers, c.MaxContainers))
	}
	if c.Region == "" || c.Node == "" {
		errs = append(errs, errors.New("region and node must not be empty"))
	}
	return errors.Join(errs...)
}

func (c Config) outsidePrefix() (netip.Prefix, error) {
	p, err := netip.ParsePrefix(c.OutsidePrefix)
	if err != nil || !p.Addr().Is4() || p.Bits() > 24 || p.Masked() != p {
		return p, fmt.Errorf("outside_prefix %q must be an IPv4 range of /24 or larger, such as 172.17.0.0/16", c.OutsidePrefix)
	}
	return p, nil
}

func (c Config) outsideMTU() (int, error) {
	n, err := strconv.Atoi(c.OutsideMTU)
	if err != nil || n < 576 || n > 9000 {
		return 0, fmt.Errorf("outside_mtu %q must be a number of bytes from 576 to 9000, such as 1500", c.OutsideMTU)
	}
	return n, nil
}

// routerSocket is where visitors reach the router by IPv4; 0.0.0.0 stands for
// all addresses of the machine. It is not valid where none can: with a router
// for the machine itself, for instance.
func (c Config) routerSocket() (netip.AddrPort, error) {
	tcp, err := net.ResolveTCPAddr("tcp", c.HTTPListen)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("http_listen %q: %w", c.HTTPListen, err)
	}
	addr, ok := netip.AddrFromSlice(tcp.IP)
	if addr = addr.Unmap(); !ok || addr.IsUnspecified() {
		addr = netip.IPv4Unspecified()
	}
	if !addr.Is4() || addr.IsLoopback() || tcp.Port == 0 {
		return netip.AddrPort{}, nil
	}
	return netip.AddrPortFrom(addr, uint16(tcp.Port)), nil
}

// publicSockets are those of the machine that containers may reach, because
// visitors do: an app may use the public URL of another one. What is in front
// of the router may listen on any address.
func (c Config) publicSockets() (public []netip.AddrPort, err error) {
	router, err := c.routerSocket()
	if err != nil {
		return nil, err
	}
	if router.IsValid() {
		public = append(public, router)
	}
	if c.PublicPort == "" {
		return public, nil
	}
	port, err := strconv.ParseUint(c.PublicPort, 10, 16)
	if front := netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)); err == nil && front != router {
		public = append(public, front)
	}
	return public, err
}

// minRepairEvery keeps the cost of looking below a few percent of a CPU.
const minRepairEvery = 500 * time.Millisecond

func (c Config) repairEvery() (time.Duration, error) {
	d, err := time.ParseDuration(c.RepairEvery)
	if err != nil || d < 0 || d > 0 && d < minRepairEvery {
		return 0, fmt.Errorf("repair_every %q must be a time of %v or more such as 30s, or 0 for a look at each start only", c.RepairEvery, minRepairEvery)
	}
	return d, nil
}

func (c Config) trustedProxies() ([]netip.Prefix, error) {
	return ranges("trusted_proxies", c.TrustedProxies)
}

// ranges reads the ranges of a setting.
func ranges(setting string, texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no range such as 192.0.2.0/24", setting, text)
		}
		out = append(out, p)
	}
	return out, nil
}
