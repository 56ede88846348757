package attack

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/attack/order"
	"github.com/atollhq/atoll/e2e/rig"
)

// attack is one that sends crafted frames.
type attack struct {
	name, link string
	// frames are those of an attack with a mark.
	frames func(mark string) [][]byte
	// reason is the counter that every frame must be found in.
	reason string
	// routed are those that the node takes in, and drops when it would pass
	// them on or up: its end of the bridge sees them.
	routed bool
	// whole is how many frames make one packet, if it is not one; never for
	// those of which none ever becomes a packet.
	whole int
	// once is for attacks of thousands of frames: others are repeated.
	once bool
}

// times is how often the frames of an attack are sent.
const times = 100

// never is the whole of fragments that do not fit together.
const never = -1

// arrival is how long is waited for what must arrive or be counted.
const arrival = 3 * time.Second

func newMark() string { return markWord + rand.Text()[:markLength-len(markWord)] }

func (a attack) order(mark string) order.Order {
	n := times
	if a.once {
		n = 1
	}
	return order.Order{Raw: &order.Raw{Link: a.link, Frames: a.frames(mark), Times: n}}
}

// run carries an attack out at the twin, as an app, and with capabilities.
func (s *siege) run(t *testing.T, a attack) {
	t.Run(a.name, func(t *testing.T) {
		saw := s.twinSees(t, a)
		s.wantForbidden(t, a.order(newMark()))

		mark, before := newMark(), readDrops(t, s.Machine)
		sent := s.attacker.granted.must(t, a.order(mark)).Sent
		more := s.awaitDrops(t, before, a.link, a.counted(sent))
		delivered := s.delivered(t, mark, a.routed)
		rig.Report(t, "attack: "+a.name+" ("+a.link+")", "%d of %d delivered; counted: %s; as an app: EPERM; the twin saw %d", delivered, sent, more, saw)
	})
}

// counted is where so many frames must be found.
func (a attack) counted(sent int) drops {
	if a.whole == never {
		return drops{}
	}
	return drops{a.reason: uint64(sent / max(a.whole, 1))}
}

// twinSees has the attack carried out where it must arrive.
func (s *siege) twinSees(t *testing.T, a attack) int {
	t.Helper()
	mark, sniffer := newMark(), s.twin.sniffers[a.link]
	o := a.order(mark)
	want := 0
	for _, f := range o.Raw.Frames {
		if bytes.Contains(f, []byte(mark)) {
			want += o.Raw.Times
		}
	}
	s.twin.attacker.must(t, o)
	rig.Await(t, arrival, "the twin to see the attack (a delivery would not be noticed)", func() error {
		if saw := sniffer.saw(mark); want == 0 || saw < want {
			return fmt.Errorf("it saw %d of %d", saw, want)
		}
		return nil
	})
	sniffer.wantNothingLost(t)
	return sniffer.saw(mark)
}

// wantForbidden checks that an app's process is not allowed to.
func (s *siege) wantForbidden(t *testing.T, o order.Order) {
	t.Helper()
	if out := s.attacker.plain.do(t, o); out.Error != "EPERM" {
		t.Errorf("an app's process gets %q for %s, want EPERM", out.Error, describe(o))
	}
}

func describe(o order.Order) string {
	text := fmt.Sprintf("%+v", o)
	return text[:min(len(text), 200)]
}

// awaitDrops waits until the drops are counted, and checks that no other
// counter moved. A frame that is known to be counted is sent after the attack:
// whatever came before it has been judged by then.
func (s *siege) awaitDrops(t *testing.T, before drops, link string, want drops) drops {
	t.Helper()
	last := s.lastFrame(link)
	s.attacker.granted.must(t, order.Order{Raw: &order.Raw{Link: link, Frames: [][]byte{last.frames(newMark())[0]}, Times: 1}})
	want = maps.Clone(want)
	want[last.reason]++
	var more drops
	rig.Await(t, arrival, "the drops to be counted", func() error {
		if more = readDrops(t, s.Machine).since(before); !more.holds(want) {
			return fmt.Errorf("counted: %s; want %s", more, want)
		}
		return nil
	})
	if !maps.Equal(more, want) {
		t.Errorf("counted: %s; want %s and nothing else", more, want)
	}
	if more[last.reason]--; more[last.reason] == 0 {
		delete(more, last.reason)
	}
	return more
}

// lastFrame is one that is counted under a reason of its own.
func (s *siege) lastFrame(link string) attack {
	if link == "pn0" {
		own := s.attacker.pn0
		return s.one("the last", "unknown-destination", func(mark string) []byte {
			return frame(privateMAC(own), privateMAC(own), typeIPv4, udp(own, ip("10.240.3.254"), 9, mark))
		})
	}
	return s.bridged("the last", "protocol", func(mark string) []byte {
		return frame(outsideMAC(gateway), outsideMAC(s.attacker.eth0), 0x88b6, []byte(mark))
	})
}

// delivered is how many frames with a mark anybody saw. All of them are
// counted as dropped by then, so none is under way.
func (s *siege) delivered(t *testing.T, mark string, routed bool) (n int) {
	t.Helper()
	witnesses := append(s.witnesses[:len(s.witnesses):len(s.witnesses)], s.internet)
	if !routed {
		witnesses = append(witnesses, s.bridge)
	}
	for _, w := range witnesses {
		if saw := w.saw(mark); saw > 0 {
			t.Errorf("%s saw %d frames of the attack", w.who, saw)
			n += saw
		}
		w.wantNothingLost(t)
	}
	for _, p := range s.victims() {
		if n := p.plain.must(t, order.Order{Heard: &order.Heard{}}).Heard[mark]; n > 0 {
			t.Errorf("the service of %s heard the attack %d times", p.name, n)
		}
	}
	return n
}
