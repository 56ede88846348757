// Package repair breaks the networks of a server as an operator's mistake
// would, and waits for the server to repair them. It has a machine of its own:
// nothing else may run where this goes on.
package repair

import (
	"testing"

	"github.com/atollhq/atoll/e2e/rig"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.Options{ServerArgs: []string{"--repair-every", "500ms"}})
}
