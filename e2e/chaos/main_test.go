package chaos

import (
	"testing"

	"github.com/atollhq/atoll/e2e/rig"
)

// A type may have as many containers as a network: the test of a full one then
// needs two apps instead of a hundred.
func TestMain(m *testing.M) {
	rig.Main(m, rig.Options{ServerArgs: []string{"--max-containers", "1022"}})
}
