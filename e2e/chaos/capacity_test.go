package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/e2e/rig"
)

// capacity is how many members a private network has room for.
const capacity = 1022

// TestCapacity fills a private network on one machine. ATOLL_MEMBERS makes it
// stop at fewer members, to look at what one costs; what a full network does is
// not tested then.
func TestCapacity(t *testing.T) {
	if testing.Short() {
		t.Skip("a full network takes minutes")
	}
	c := newFilled(t)
	c.fill(t)
	t.Run("memory", c.memory)
	t.Run("idle", c.idle)
	t.Run("reach", c.reach)
	t.Run("names", c.names)
	t.Run("server killed", c.killed)
	if c.members < capacity {
		return
	}
	t.Run("warning", c.warning)
	t.Run("one more", c.oneMore)
	t.Run("freed addresses", c.freed)
}

// filled is a network with many members: one that looks at the others, which
// are idle.
type filled struct {
	*rig.Machine
	app     rig.App
	other   rig.App // of another project
	others  int     // its containers
	prober  rig.Container
	members int
	empty   map[string]usage
}

func newFilled(t *testing.T) *filled {
	c := &filled{Machine: rig.Use(t), members: capacity}
	c.RoomForNeighbours(t)
	if text := os.Getenv("ATOLL_MEMBERS"); text != "" {
		var err error
		if c.members, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	c.other = c.App(t, c.Project(t, "capacity-other"), "capacity-other")
	c.other.Must(t, "scale", "web:0")
	c.other.Deploy(t, rig.Folder(t, map[string]string{"Procfile": "other: exec ./idle\n", "idle": program(t, "idle")}))
	project := c.Project(t, "capacity")
	prober := c.App(t, project, "capacity-prober")
	prober.Must(t, "scale", "web:0")
	prober.Deploy(t, rig.Folder(t, map[string]string{"Procfile": "prober: exec ./member serve\n", "member": program(t, "member")}))
	prober.Must(t, "scale", "prober:1:S")
	c.prober = prober.Container(t, "prober-1")

	c.app = c.App(t, project, "capacity")
	c.app.Must(t, "scale", "web:0")
	c.app.Deploy(t, rig.Folder(t, map[string]string{"Procfile": "idle: exec ./idle\n", "idle": program(t, "idle")}))
	c.app.Must(t, "scale", "idle:1:S")
	c.empty = platform(t, c.Machine)
	t.Cleanup(func() { c.leave(t) })
	return c
}

// idles is how many idle members there are to be, beside the prober.
func (c *filled) idles() int { return c.members - 1 }

// fill starts the members, in steps: a user who scales that far sees progress.
func (c *filled) fill(t *testing.T) {
	t.Helper()
	const step = 250
	usual := c.usualStart(t)
	began := time.Now()
	for n := 0; n < c.idles(); {
		n = min(n+step, c.idles())
		c.app.Must(t, "scale", fmt.Sprintf("idle:%d", n), "--no-wait")
		if n == step {
			c.startMeanwhile(t, "start", usual, 3)
			c.other.Must(t, "scale", "other:0", "--no-wait") // nothing is to take a place
			c.others = 0
		}
		c.await(t, n)
	}
	took := time.Since(began)
	rig.Report(t, "capacity: start", "%d containers in %v, %.0f ms each", c.idles(), took.Round(time.Second), float64(took.Milliseconds())/float64(c.idles()))
}

// scale sets how many idle members there are and waits until they are in
// service and nothing else is left.
func (c *filled) scale(t *testing.T, n int) {
	t.Helper()
	c.app.Must(t, "scale", fmt.Sprintf("idle:%d", n), "--no-wait")
	c.await(t, n)
}

func (c *filled) await(t *testing.T, n int) {
	t.Helper()
	var info struct{ Status string }
	rig.Await(t, 5*time.Minute, fmt.Sprintf("%d members to be in service", n), func() error {
		list := c.app.Ps(t)
		if up := inService(list); len(list) != n || up != n {
			time.Sleep(time.Second) // a look at so many is work
			return fmt.Errorf("%d of %d are", up, len(list))
		}
		c.app.Read(t, &info, "info")
		if info.Status != "running" {
			return fmt.Errorf("the app is %s", info.Status)
		}
		return nil
	})
}

func inService(list []rig.Container) (n int) {
	for _, x := range list {
		if x.Atoll.InService {
			n++
		}
	}
	return n
}

// memory tells what the platform takes for a container, beside what the
// container's own processes take.
func (c *filled) memory(t *testing.T) {
	now := platform(t, c.Machine)
	var parts []string
	total, n := 0.0, float64(c.idles()-1)
	for _, kind := range kinds {
		each := float64(now[kind].pss-c.empty[kind].pss) / n
		total += each
		parts = append(parts, fmt.Sprintf("%s %.0f", kind, each))
	}
	rig.Report(t, "capacity: memory for an idle container", "%.0f KiB (PSS: %s KiB; %d shims, %d loggers)",
		total, strings.Join(parts, ", "), now["shim"].count, now["logger"].count)
}

// idle tells what the platform does while nothing happens.
func (c *filled) idle(t *testing.T) {
	before := platform(t, c.Machine)
	began := time.Now()
	time.Sleep(30 * time.Second) // the time that is measured
	now, took := platform(t, c.Machine), time.Since(began)
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%s %.1f %%", kind, 100*(now[kind].cpu-before[kind].cpu).Seconds()/took.Seconds()))
	}
	rig.Report(t, "capacity: CPU while idle", "with %d containers: %s of one CPU", c.members, strings.Join(parts, ", "))
}

// reach connects from one member to all others, by their numbered names.
func (c *filled) reach(t *testing.T) {
	began := time.Now()
	out, err := c.prober.Run(t, "/app/member", "reach", fmt.Sprint(c.idles()), "idle.capacity.internal")
	if err != nil {
		t.Error(err)
	}
	if want := fmt.Sprintf("%d reached at %[1]d addresses", c.idles()); strings.TrimSpace(out) != want {
		t.Errorf("the prober says %q, want %q", out, want)
	}
	rig.Report(t, "capacity: reach", "%s, by name, from one member, in %v", strings.TrimSpace(out), time.Since(began).Round(10*time.Millisecond))
}

// names checks that the type's name has all of them (over TCP, for which dig
// turns when the answer over UDP is cut).
func (c *filled) names(t *testing.T) {
	reply := c.prober.Dig(t, "idle.capacity.internal.", "A")
	want := make([]string, 0, c.idles())
	for _, x := range c.app.Ps(t) {
		want = append(want, "5 A "+x.Atoll.PrivateIP)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, reply.Records); diff != "" {
		t.Errorf("the name's records (-want +got):\n%s", diff)
	}
	if n := len(slices.Compact(want)); n != c.idles() {
		t.Errorf("%d containers have %d addresses", c.idles(), n)
	}
	rig.Report(t, "capacity: names", "%d records in one answer", len(reply.Records))
}

// warning looks for the event that says that the network fills up: there is
// one, whatever happened since.
func (c *filled) warning(t *testing.T) {
	var events []struct {
		Type string         `json:"type"`
		Data map[string]any `json:"type_data"`
	}
	found := 0
	c.Read(t, &events, "events", "--all", "--per-page", "100")
	for _, e := range events {
		if e.Type == "network_nearly_full" {
			found++
			t.Logf("the event: %v", e.Data)
		}
	}
	if found != 1 {
		t.Errorf("there are %d events network_nearly_full, want 1: %+v", found, events)
	}
	if !strings.Contains(c.ServerLog(10000), "A private network is nearly full") {
		t.Error("the server's log does not say that the network is nearly full")
	}
	rig.Report(t, "capacity: warning at 80 %", "%d event", found)
}

// leave ends all members, so that what follows has the machine for itself.
func (c *filled) leave(t *testing.T) {
	// With room for those of the other project. Where filling it failed, what
	// there is now has to do: this is no time for starting more.
	had := max(min(inService(c.app.Ps(t)), c.idles()-20), 1)
	c.scale(t, had)
	usual := c.usualStart(t)
	began := time.Now()
	c.app.Must(t, "scale", "idle:0", "--no-wait")
	c.startMeanwhile(t, "drain", usual, 3)
	c.awaitFewer(t, had)
	c.startMeanwhile(t, "end", usual, 5)
	c.awaitFewer(t, 1)
	rig.Report(t, "capacity: end", "%d containers in %v", had, time.Since(began).Round(time.Second))
}

// awaitFewer waits until there are fewer idle members than n.
func (c *filled) awaitFewer(t *testing.T, n int) {
	t.Helper()
	rig.Await(t, 5*time.Minute, fmt.Sprintf("fewer than %d members to be left", n), func() error {
		if left := len(c.app.Ps(t)); left >= n {
			time.Sleep(time.Second) // a look at so many is work
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
}

// startMeanwhile starts containers of another project, one after the other,
// while many do something: they do not wait for all of them.
func (c *filled) startMeanwhile(t *testing.T, what string, usual time.Duration, n int) {
	var worst time.Duration
	for range n {
		worst = max(worst, c.startOther(t))
	}
	rig.Report(t, "capacity: a start while many "+what, "%v at most, with %d then; before, it took %v",
		worst.Round(10*time.Millisecond), len(c.app.Ps(t)), usual.Round(10*time.Millisecond))
	// A start has other work than that to wait for: below the floor it is as
	// usual, however fast that was.
	if worst > max(5*usual, 10*time.Second) {
		t.Errorf("a start while many %s took %v, and %v before", what, worst, usual)
	}
}

// usualStart is the median time of three starts of another project.
func (c *filled) usualStart(t *testing.T) time.Duration {
	t.Helper()
	took := []time.Duration{c.startOther(t), c.startOther(t), c.startOther(t)}
	slices.Sort(took)
	return took[1]
}

// startOther starts one more container of another project and says how long
// that took.
func (c *filled) startOther(t *testing.T) time.Duration {
	t.Helper()
	c.others++
	began := time.Now()
	c.other.Must(t, "scale", fmt.Sprintf("other:%d", c.others))
	return time.Since(began)
}

// standing is what must not change when a start is refused.
func (c *filled) standing(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, x := range c.app.Ps(t) {
		if x.State != "failed" {
			lines = append(lines, fmt.Sprintf("%s %s %s %s %v %d", x.Label, x.ID, x.Atoll.PrivateIP, x.State, x.Atoll.InService, x.Atoll.Restarts))
		}
	}
	return lines
}

// oneMore starts a container too many.
func (c *filled) oneMore(t *testing.T) {
	before := c.standing(t)
	r := c.app.Atoll(t, "scale", fmt.Sprintf("idle:%d", c.idles()+1))
	if want := "all 1022 addresses are in use; scale down"; r.Code != rig.ExitFailure || !strings.Contains(r.Stderr, want) {
		t.Errorf("exit code %d, want %d and a message with %q:\n%v", r.Code, rig.ExitFailure, want, r)
	}
	if diff := cmp.Diff(before, c.standing(t)); diff != "" {
		t.Errorf("the others are not as before (-before +after):\n%s", diff)
	}
	c.scale(t, c.idles())
	if diff := cmp.Diff(before, c.standing(t)); diff != "" {
		t.Errorf("after taking the wish back, the others are not as before (-before +after):\n%s", diff)
	}
	c.reach(t)
	rig.Report(t, "capacity: one too many", "refused: %s", theLine(r.Stderr, "addresses are in use"))
}

// theLine is the line of a text with some words.
func theLine(text, words string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, words) {
			return strings.TrimSpace(line)
		}
	}
	return "-"
}

// freed removes ten members and starts ten others: these have to wait until the
// addresses have rested, and get them then.
func (c *filled) freed(t *testing.T) {
	const n = 10
	old := map[string]bool{}
	for _, x := range c.app.Ps(t) {
		if number, err := strconv.Atoi(strings.TrimPrefix(x.Label, "idle-")); err == nil && number > c.idles()-n {
			old[x.Atoll.PrivateIP] = true
		}
	}
	c.scale(t, c.idles()-n)
	gone := time.Now()
	c.app.Must(t, "scale", fmt.Sprintf("idle:%d", c.idles()), "--no-wait")
	rig.Await(t, time.Minute, "ps to say what they wait for", func() error {
		r := c.app.Atoll(t, "ps")
		if want := "released less than 1m0s ago; the next is free in"; !strings.Contains(r.Stderr, want) {
			return fmt.Errorf("no %q in: %v", want, r.Stderr)
		}
		return nil
	})
	c.await(t, c.idles())
	for _, x := range c.app.Ps(t) {
		delete(old, x.Atoll.PrivateIP)
	}
	if len(old) > 0 {
		t.Errorf("these addresses are not used again: %v", old)
	}
	rig.Report(t, "capacity: freed addresses", "%d used again %v after they were freed", n, time.Since(gone).Round(time.Second))
}

// killed restarts the server with all members running.
func (c *filled) killed(t *testing.T) {
	before := c.standing(t)
	began := time.Now()
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	named := c.namesServed(t).Sub(began)
	c.await(t, c.idles())
	if diff := cmp.Diff(before, c.standing(t)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
	c.reach(t)
	rig.Report(t, "capacity: restart of the server", "with %d containers, names are answered after %v, the API after %v",
		c.members, named.Round(10*time.Millisecond), took.Round(10*time.Millisecond))
}

// namesServed is when the present server began to answer questions, as its log
// says.
func (c *filled) namesServed(t *testing.T) time.Time {
	t.Helper()
	var at time.Time
	for line := range strings.Lines(c.ServerLog(10000)) {
		var entry struct {
			Time time.Time `json:"time"`
			Msg  string    `json:"msg"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err == nil && strings.HasPrefix(entry.Msg, "Traffic and names are served") {
			at = entry.Time
		}
	}
	return at
}
