package attack

import (
	"testing"

	"github.com/atollhq/atoll/e2e/rig"
)

// The server does not look at its networks between starts: an address that a
// deed adds inside of a container would be repaired away, and the deed with it.
func TestMain(m *testing.M) {
	rig.Main(m, rig.Options{ServerArgs: []string{"--repair-every", "0"}})
}
