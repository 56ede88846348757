package platform

// Precedes reports whether i has a better claim than other to the number the
// two share: during a replacement, or when a type was scaled down and up
// again while the former container still drains. The one in service comes
// first, then one that is ready, one that runs or will run, one that could
// not be created, and last one that leaves; among equals the newest. What runs
// once comes behind the containers of the formation: a process type may be
// called cron too, and nobody who asks for it shall be sent to a task.
func (i Instance) Precedes(other Instance) bool {
	if a, b := i.claim(), other.claim(); a != b {
		return a > b
	}
	if i.Generation != other.Generation {
		return i.Generation > other.Generation
	}
	return i.CreatedAt.After(other.CreatedAt)
}

// Leaving reports whether the instance is on its way out: its number and its
// numbered name are free for another.
func (i Instance) Leaving() bool {
	return i.State == InstanceDraining || i.State == InstanceStopping || i.State == InstanceEnded
}

func (i Instance) claim() int {
	switch {
	case i.Leaving():
		return 0
	case i.Kind != KindApp:
		return 1
	case i.State == InstanceFailed:
		return 2
	case i.InService():
		return 5
	case i.State == InstanceRunning && i.Observation.Ready:
		return 4
	}
	return 3
}
