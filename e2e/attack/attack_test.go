package attack

import "testing"

// TestAttack is all of it. One siege serves all attacks, one after the other:
// the counters are the machine's, and what moves them must be the attack.
func TestAttack(t *testing.T) {
	s := openSiege(t)
	s.services(t)
	t.Run("private", s.private)
	t.Run("outside", s.outside)
	t.Run("deeds", s.deeds)
	t.Run("node", s.node)
	t.Run("names", s.names)
	t.Run("floods", s.floods)
}
