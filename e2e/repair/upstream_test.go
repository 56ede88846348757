package repair

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestUpstreamsDown: the machine's resolvers do not answer. Who asks for names
// outside is told so before it would ask again; names inside do not notice.
func TestUpstreamsDown(t *testing.T) {
	s := newSite(t)
	s.silence(t)

	type outcome struct {
		text string
		took time.Duration
	}
	outside := make(chan outcome, 1)
	dig := s.web.Command(t.Context(), t, "dig", "+time=10", "+tries=1", "+noall", "+comments", "down.example.", "A")
	began := time.Now()
	go func() {
		out, err := dig.CombinedOutput()
		if err != nil {
			out = append(out, err.Error()...)
		}
		outside <- outcome{string(out), time.Since(began)}
	}()
	inside, slowest := 0, time.Duration(0)
	for {
		asked := time.Now()
		s.web.WantAnswer(t, "api.repair-shop.internal.", "A", "NOERROR", "5 A "+s.api.Atoll.PrivateIP)
		s.web.WantAnswer(t, "nosuch.internal.", "A", "NXDOMAIN")
		inside, slowest = inside+2, max(slowest, time.Since(asked)/2)
		select {
		case o := <-outside:
			// Clients ask again after four seconds.
			if !strings.Contains(o.text, "status: SERVFAIL") || o.took > 4*time.Second {
				t.Errorf("after %v an outside name is\n%s", o.took, o.text)
			}
			rig.Report(t, "names: upstream down", "SERVFAIL for an outside name after %v; meanwhile %d private questions answered, the slowest in %v",
				o.took.Round(10*time.Millisecond), inside, slowest.Round(time.Millisecond))
			return
		default:
		}
	}
}
