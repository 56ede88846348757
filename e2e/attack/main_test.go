package attack

import (
	"testing"

	"github.com/atollhq/atoll/e2e/rig"
)

func TestMain(m *testing.M) { rig.Main(m, rig.Options{}) }
