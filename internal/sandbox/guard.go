package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Refusal is a removal that was not done, because it would have cut off too
// many containers that run and that nobody asked to stop.
type Refusal struct {
	// Network is the key of the private network, 0 when it is about the
	// containers of all networks together.
	Network uint32 `json:"network_key,omitempty"`
	// NetworkID is its id where it is known.
	NetworkID string `json:"network_id,omitempty"`
	// Containers would have lost their network, of so many that there are.
	Containers []string `json:"containers"`
	Of         int      `json:"of"`
}

func (r Refusal) String() string {
	where := "this machine"
	if r.Network != 0 {
		where = fmt.Sprintf("private network %d", r.Network)
		if r.NetworkID != "" {
			where = "private network " + r.NetworkID
		}
	}
	return fmt.Sprintf("%d of the %d containers of %s run, but the engine does not know them", len(r.Containers), r.Of, where)
}

// guard decides which strays may be removed. A stray is a sandbox that no
// container of the engine has. Asked-for removals are no strays: the engine
// ends the process, then calls Teardown. So a stray that processes still live
// in means that something is lost (containerd's data, the notes, the
// database), or that somebody else made it. A few are removed; when they are
// more than half of a network, or of the machine, it is more likely that the
// knowledge is lost than that the containers are, and all of them stay.
//
// Strays without a process are always removed: nobody misses their network.
func guard(kept []Sandbox, strays []Sandbox, inUse func(Sandbox) bool) (remove, hold []Sandbox, refused []Refusal) {
	total, cut, ids := map[uint32]int{}, map[uint32][]string{}, map[uint32]string{}
	all, allCut := 0, []string(nil)
	count := func(s Sandbox) {
		all++
		if s.Private {
			total[s.Network.Key]++
			ids[s.Network.Key] = cmp.Or(s.Network.ID, ids[s.Network.Key])
		}
	}
	for _, s := range kept {
		count(s)
	}
	var living []Sandbox
	for _, s := range strays {
		if !inUse(s) {
			remove = append(remove, s)
			continue
		}
		count(s)
		living = append(living, s)
		allCut = append(allCut, s.InstanceID)
		if s.Private {
			cut[s.Network.Key] = append(cut[s.Network.Key], s.InstanceID)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(cut)) {
		if isMass(len(cut[key]), total[key]) {
			refused = append(refused, Refusal{Network: key, NetworkID: ids[key], Containers: cut[key], Of: total[key]})
		}
	}
	if isMass(len(allCut), all) {
		refused = []Refusal{{Containers: allCut, Of: all}}
	}
	for _, s := range living {
		if slices.ContainsFunc(refused, func(r Refusal) bool { return slices.Contains(r.Containers, s.InstanceID) }) {
			hold = append(hold, s)
		} else {
			remove = append(remove, s)
		}
	}
	return remove, hold, refused
}

// isMass: more than half. One of one is, one of two is not.
func isMass(removed, of int) bool { return 2*removed > of }
