package attack

import "testing"

// TestAttack is all of it. One siege serves all attacks, one after the other:
// the counters are the machine's, and what moves them must be the attack.
func TestAttack(t *testing.T) {
	s := openSiege(t)
	t.Run("private", s.private)
	t.Run("outside", s.outside)
}
