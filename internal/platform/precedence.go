package platform

// Precedes reports whether i has a better claim than other to the number the
// two share: during a replacement, or when a type was scaled down and up
// again while the former container still drains. The one in service comes
// first, then one that is ready, one that runs or will run, one that could
// not be created, and last one that leaves; among equals the newest.
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
	return i.State == InstanceDraining || i.State == InstanceStopping
}

func (i Instance) claim() int {
	switch {
	case i.Leaving():
		return 0
	case i.State == InstanceFailed:
		return 1
	case i.InService():
		return 4
	case i.State == InstanceRunning && i.Observation.Ready:
		return 3
	}
	return 2
}
