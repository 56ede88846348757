package repair

import (
	"strings"
	"testing"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestStraysAreRemoved leaves what a kill in the middle of making or removing a
// container would: the next look removes it and says so, and nothing else.
func TestStraysAreRemoved(t *testing.T) {
	s := newSite(t)
	s.wantInOrder(t)
	before := []rig.Standing{s.shop.Standing(t), s.stranger.Standing(t)}
	namespace := s.netns("left-over")
	strays := []struct{ name, netns, made, there, logged string }{
		{"the namespace of a container", s.node(), "touch " + namespace, "test -e " + namespace, "Removed a stray network"},
		{"a port of the bridge", s.node(), "ip link add ato-leftover type veth peer name leftover; ip link set ato-leftover master atoll0 up", "ip link show ato-leftover", "Removed a stray interface"},
		{"a port of the switch", s.switchNS(), "ip link add pnleftover type veth peer name leftover", "ip link show pnleftover", "Removed stray endpoint"},
		{"an element of the firewall", s.node(), "nft add element ip atoll_outside public '{ 172.17.200.200 . 8080 }'", "nft list set ip atoll_outside public | grep -F 172.17.200.200", "the element { 172.17.200.200 . 8080 } is no container's"},
	}
	for _, stray := range strays {
		t.Run(stray.name, func(t *testing.T) {
			state, length := s.state(t), len(s.ServerLog(1<<20))
			s.standStill(t, func() {
				run(t, stray.netns, stray.made)
				run(t, stray.netns, stray.there) // so that its absence says something
			})
			s.awaitRepair(t, state)
			run(t, stray.netns, "! "+stray.there)
			if log := s.ServerLog(1 << 20)[length:]; !strings.Contains(log, stray.logged) {
				t.Errorf("the log does not have %q:\n%s", stray.logged, log)
			}
		})
	}
	for i, a := range []rig.App{s.shop, s.stranger} {
		a.WantUnchanged(t, &before[i])
	}
	rig.Report(t, "repair: strays", "%d left-overs of no container removed, each with a line in the log", len(strays))
}
