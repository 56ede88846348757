package containerd

import (
	"hash/fnv"
	"sync"

	"github.com/atollhq/atoll/internal/platform"
)

// A shim is a process of about 2.5 MB beside each container. One can serve
// several: containerd starts a shim for the first container of a group, and
// hands it the others. What a shim's death costs decides who is in a group:
// all of its containers end with it and start again. So the containers of one
// process type are spread over groups, as over machines, and those of
// different apps share them.
const (
	// groupSize is the most containers of a group.
	groupSize = 10
	// groupShare is the part of a process type that may be in one group:
	// 10 stands for a tenth, and at least one.
	groupShare = 10
	// groupAnnotation tells the shim the group (containerd 1.4 and later).
	groupAnnotation = "io.containerd.runc.v2.group"
)

// groupUse is who is in a group.
type groupUse struct {
	id string
	// members counts all, like those of the process type in question.
	members, like int
	// lasting: somebody in it is not about to go, so the shim stays.
	lasting bool
}

// groups chooses a group for each of n new containers of a process type that
// is to have total. used are the groups there are, newID names a new one.
// Containers that start after each other are in different groups where
// possible: a shim makes one container at a time.
func groups(used []groupUse, n, total int, newID func() string) []string {
	share := max(1, total/groupShare)
	room := func(g groupUse) int { return max(0, min(groupSize-g.members, share-g.like)) }
	var open []groupUse
	free := 0
	for _, g := range used {
		if g.lasting && room(g) > 0 {
			open = append(open, g)
			free += room(g)
		}
	}
	for free < n {
		g := groupUse{id: newID(), lasting: true}
		open = append(open, g)
		free += room(g)
	}
	chosen := make([]string, 0, n)
	for i := 0; len(chosen) < n; i = (i + 1) % len(open) {
		if room(open[i]) == 0 {
			continue
		}
		open[i].members++
		open[i].like++
		chosen = append(chosen, open[i].id)
	}
	return chosen
}

// chooseGroups chooses groups for n new containers of a workload. e.mu is
// held.
func (e *Engine) chooseGroups(w platform.Workload, n int) []string {
	byID := map[string]int{}
	var used []groupUse
	for _, k := range e.keepers {
		rec := k.record()
		if rec.Group == "" {
			continue
		}
		i, known := byID[rec.Group]
		if !known {
			i = len(used)
			byID[rec.Group] = i
			used = append(used, groupUse{id: rec.Group})
		}
		used[i].members++
		if k.stopAsked() {
			continue
		}
		used[i].lasting = true
		if rec.Instance.AppID == w.AppID && rec.Instance.Type == w.Type {
			used[i].like++
		}
	}
	return groups(used, n, len(w.Numbers), platform.NewID)
}

// groupLocks let one container at a time enter or leave a group: a shim that
// ends with its last container must not be handed another one just then, and
// two must not start one for the same group.
type groupLocks [64]sync.Mutex

// hold locks the group of a container until the returned function is called.
func (e *Engine) hold(id string) (release func()) {
	e.mu.Lock()
	k := e.keepers[id]
	e.mu.Unlock()
	if k == nil {
		return func() {} // a job, alone with its shim
	}
	group := k.record().Group
	if group == "" {
		return func() {}
	}
	hash := fnv.New32a()
	hash.Write([]byte(group))
	lock := &e.groups[hash.Sum32()%uint32(len(e.groups))]
	lock.Lock()
	return lock.Unlock
}
