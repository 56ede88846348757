package rig

import "testing"

// RoomForNeighbours does what the server does where it runs in the machine's
// first network namespace, which the laboratory's is not: the kernel has one
// table of neighbours for all.
func (m *Machine) RoomForNeighbours(t *testing.T) {
	t.Helper()
	for file, min := range map[string]int{"gc_thresh3": 65536, "gc_thresh2": 32768, "gc_thresh1": 8192} {
		m.RaiseSetting(t, "/proc/sys/net/ipv4/neigh/default/"+file, min)
	}
}
