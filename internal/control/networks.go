package control

import (
	"context"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// countEvery bounds how often members are counted while containers come and
// go by the hundred.
const countEvery = time.Second

// WatchNetworks follows how many members the private networks have until ctx
// ends, and tells the owner of one that becomes nearly full, by an event, and
// the operator, by the log: before a start fails for want of an address.
func (c *Control) WatchNetworks(ctx context.Context) {
	told := map[string]level{}
	for {
		rows, changed := c.Reconciler.Roster.Snapshot()
		counted := countMembers(rows)
		for id := range told {
			counted[id] += 0 // one that has none left is looked at as well
		}
		for id, members := range counted {
			if now := levelOf(members); now != told[id] && now != between && c.noteUse(ctx, id, members) {
				told[id] = now
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(countEvery):
		case <-ctx.Done():
			return
		}
	}
}

// Private

// level is how full a network is; unknown until it was first looked at.
type level int

const (
	unknown level = iota
	room
	between
	nearlyFull
)

func levelOf(members int) level {
	switch {
	case platform.NearlyFull(members):
		return nearlyFull
	case platform.HasRoom(members):
		return room
	}
	return between
}

// countMembers counts the containers that have an address, by network.
func countMembers(rows []platform.Instance) map[string]int {
	members := map[string]int{}
	for _, i := range rows {
		if i.PrivateAddr.IsValid() {
			members[i.NetworkID]++
		}
	}
	return members
}

// noteUse tells the store, which knows what was told before, also by an
// earlier process. It reports whether that worked.
func (c *Control) noteUse(ctx context.Context, networkID string, members int) bool {
	event, p, err := c.Store.NoteNetworkUse(ctx, networkID, members)
	switch {
	case err != nil && ctx.Err() == nil:
		c.Log.Error("Cannot note how full a private network is", "network", networkID, "members", members, "error", err)
	case event == store.EventNetworkNearlyFull:
		c.Log.Warn("A private network is nearly full; when it is, starts fail: scale down, or move apps to another project",
			"project", p.Name, "network", networkID, "members", members, "capacity", platform.MaxMembers)
	case event == store.EventNetworkHasRoom:
		c.Log.Info("A private network has room again", "project", p.Name, "network", networkID, "members", members)
	}
	return err == nil
}
