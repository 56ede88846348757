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

// SameContainers reports whether two looks refused to remove the networks of
// the same containers. How many others there are by then does not matter.
func SameContainers(before, now []Refusal) bool {
	return slices.Equal(concerned(before), concerned(now))
}

func concerned(refused []Refusal) (ids []string) {
	for _, r := range refused {
		ids = append(ids, r.Containers...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// guard decides which strays may be removed. A stray is a sandbox that no
// container of the engine has. Asked-for removals are no strays: the engine
// ends the process, then calls Teardown. So a stray that processes still live
// in means that something is lost (containerd's data, the notes, the
// database), or that somebody else made it. A few are removed; when they are
// more than half of a network, or of the machine, it is more likely that the
// knowledge is lost than that the containers are, and all of them stay.
//
// What stayed once is Held, and stays whatever comes: the containers that are
// started in the place of the lost ones would soon outnumber them. Nor do the
// held ones count when others are judged.
//
// Strays without a process are always removed: nobody misses their network.
func guard(kept []Sandbox, strays []Sandbox, inUse func(Sandbox) bool) (remove, hold []Sandbox, refused []Refusal) {
	known, unknown, all := census{}, census{}, census{}
	for _, s := range kept {
		known.count(s)
		all.count(s)
	}
	var living []Sandbox
	for _, s := range strays {
		if !inUse(s) {
			remove = append(remove, s)
			continue
		}
		living = append(living, s)
		all.count(s)
		if !s.Held {
			unknown.count(s)
		}
	}
	isLoss := func(key uint32) bool {
		lost := len(unknown[key].ids)
		return isMass(lost, lost+len(known[key].ids))
	}
	stay := census{}
	for _, s := range living {
		if s.Held || isLoss(machineWide) || s.Private && isLoss(s.Network.Key) {
			hold = append(hold, s)
			stay.count(s)
		} else {
			remove = append(remove, s)
		}
	}
	return remove, hold, stay.refusals(all)
}

// census counts containers by the key of their private network, and all of
// them as machineWide, which is the key of none.
type census map[uint32]population

type population struct {
	networkID string
	ids       []string
}

const machineWide = 0

func (c census) count(s Sandbox) {
	c.add(machineWide, "", s.InstanceID)
	if s.Private {
		c.add(s.Network.Key, s.Network.ID, s.InstanceID)
	}
}

func (c census) add(key uint32, networkID, id string) {
	p := c[key]
	c[key] = population{cmp.Or(networkID, p.networkID), append(p.ids, id)}
}

// refusals puts into words that these stay, of all that there are: most of a
// machine at once, else network by network.
func (c census) refusals(all census) (refused []Refusal) {
	of := func(key uint32, ids []string) Refusal {
		return Refusal{Network: key, NetworkID: all[key].networkID, Containers: ids, Of: len(all[key].ids)}
	}
	alone := c[machineWide].ids
	if isMass(len(alone), len(all[machineWide].ids)) {
		return []Refusal{of(machineWide, alone)}
	}
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if key != machineWide {
			refused = append(refused, of(key, c[key].ids))
			alone = slices.DeleteFunc(slices.Clone(alone), func(id string) bool { return slices.Contains(c[key].ids, id) })
		}
	}
	if len(alone) > 0 { // of no private network
		refused = append(refused, of(machineWide, alone))
	}
	return refused
}

// isMass: more than half. One of one is, one of two is not.
func isMass(removed, of int) bool { return 2*removed > of }
