package platform

import (
	"slices"
	"time"
)

// Kind tells what a workload's containers are for; it decides membership in
// names (architecture, decision 8).
type Kind string

// The kinds of workloads.
const (
	// KindApp is a container of the formation.
	KindApp Kind = "app"
	// KindOneOff is a container that somebody runs once: a member of the
	// private network with a numbered name, never under a service name.
	KindOneOff Kind = "one-off"
	// KindPostdeploy is the deployment hook: a member like a one-off.
	KindPostdeploy Kind = "postdeploy"
	// KindCron is a run of a scheduled task: a member like a one-off.
	KindCron Kind = "cron"
)

// Workload is a set of like containers that the engine is asked to hold: one
// process type of one app in one generation. It is desired state; what runs
// are its Instances.
type Workload struct {
	// ID names the workload for ever; a replacement is a new workload with a
	// higher Generation.
	ID        string
	ProjectID string
	Network   PrivateNetwork
	AppID     string
	AppName   string
	Type      string
	Kind      Kind
	// Group is the number by which the node's switch knows the app's process
	// type in policies. It is also told to containers that run already.
	Group      uint32
	Generation int64
	// Numbers are the container numbers it holds, sorted, from 1. During a
	// replacement two workloads may hold the same number.
	Numbers []int
	// Active workloads are in service: their ready instances are in names
	// and routes. A new generation starts inactive and is activated when all
	// of it is ready (CL-15).
	Active bool
	// Image, Command (for bash -c), Env (the app's variables and the
	// release-wide platform variables), Size are what to run. Changing Env
	// alone does not restart anything (CL-19).
	Image   string
	Version string
	Command string
	Env     map[string]string
	Size    Size
	Stack   string
	Region  string
	// StopGrace is how long a process has between SIGTERM and SIGKILL.
	StopGrace time.Duration
}

// Has reports whether the workload holds container number n.
func (w Workload) Has(n int) bool { return slices.Contains(w.Numbers, n) }

// Times of a stop (CL-12; architecture, decision 7).
const (
	// NameTTL is the TTL of private names (PN-25).
	NameTTL = 5 * time.Second
	// DrainDelay is how long a container that listens is out of the names
	// before its SIGTERM, so that clients which honour the TTL are gone.
	DrainDelay = NameTTL + time.Second
	// StopGrace is the default time between SIGTERM and SIGKILL.
	StopGrace = 30 * time.Second
	// BootTimeout is how long web and tcp have to accept on $PORT (CL-2).
	BootTimeout = 60 * time.Second
	// SettleTime is how long any other type must run before it counts as
	// ready when it listens nowhere.
	SettleTime = 10 * time.Second
	// BootSettleTime is that of a type of which a container has listened: this
	// one is still booting then. It ends before BootTimeout, so that it is no
	// failure that a container does not listen any more.
	BootSettleTime = BootTimeout - 5*time.Second
)
