package diagnosis

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
)

const zoneHint = "names are APP.internal, TYPE.APP.internal and NUMBER.TYPE.APP.internal"

// explainMissing says why a name does not exist, and which one was meant.
func (v *visit) explainMissing(ctx context.Context) error {
	if !v.isPrivate {
		v.explainOutside()
		return nil
	}
	n, ok := platform.ParsePrivateName(v.name)
	switch {
	case !ok:
		v.explainForm()
		return nil
	case v.app == nil:
		return v.explainApp(ctx, n)
	}
	return v.explainType(ctx, n)
}

// explainEmpty says why a name that exists has no address. The containers
// themselves are for the step of readiness.
func (v *visit) explainEmpty(ctx context.Context) error {
	if v.app == nil {
		v.blame("%s has no IPv4 address; ask for another name", v.name)
		return nil
	}
	n := v.parsed
	if n.Type == "" && !slices.Contains(v.app.Types, platform.TypeWeb) {
		v.blame("%s means the type web, which %s does not have; use %s", v.name, v.app.Name, v.offerTypes(n))
		return nil
	}
	amount, err := v.amount(ctx, n.ServiceType())
	switch {
	case err != nil:
		return err
	case !v.app.Deployed:
		v.blame("%s has never been deployed; run atoll deploy -a %s", v.app.Name, v.app.Name)
	case amount == 0:
		v.blame("%[1]s of %[2]s is scaled to 0; run atoll scale %[1]s:1 -a %[2]s", n.ServiceType(), v.app.Name)
	case len(v.containersOf(v.app.ID, n)) == 0:
		v.blame("no container of the type %s of %s was started; atoll events -a %s says why", n.ServiceType(), v.app.Name, v.app.Name)
	}
	return nil
}

// explainCode is about an outside name that got an error code. Our resolver
// says SERVFAIL when nobody answers it, and passes on what others say.
func (v *visit) explainCode(code string) {
	if code == "SERVFAIL" {
		v.blame("%s cannot be resolved (%s), because the machine's own resolvers do not answer or fail themselves; run atoll doctor on the machine", v.name, code)
		return
	}
	v.blame("%s cannot be resolved: the machine's own resolvers answer with %s; ask who runs them, or let the operator name others in resolv_conf", v.name, code)
}

func (v *visit) explainOutside() {
	labels := strings.Split(strings.ToLower(v.name), ".")
	last := labels[len(labels)-1]
	if len(labels) == 1 {
		if near, ok := nearest(v.name, appNames(v.neighbours())); ok {
			v.blame("there is no name %s; did you mean %s.internal?", v.name, near)
			return
		}
		v.blame("there is no app %s in its project, %s", v.name, v.offerApps())
		return
	}
	if _, typo := nearest(last, []string{"internal"}); typo {
		full := strings.Join(append(labels[:len(labels)-1], "internal"), ".")
		if n, ok := platform.ParsePrivateName(full); ok && v.appNamed(n) != nil {
			v.blame("the name %s does not exist; did you mean %s?", v.name, full)
			return
		}
	}
	// Names of others on the internet may have the name of an app in them.
	if slices.Contains(privateSuffixes, last) {
		for _, a := range v.neighbours() {
			if slices.Contains(labels[:len(labels)-1], strings.ToLower(a.Name)) {
				v.blame("%s is no name of the private network; use %s.internal (%s)", v.name, a.Name, zoneHint)
				return
			}
		}
	}
	v.blame("the name %s does not exist on the internet; check its spelling (%s inside)", v.name, zoneHint)
}

// privateSuffixes end names of private networks elsewhere; nobody has them on
// the internet.
var privateSuffixes = []string{"local", "localdomain", "lan", "home", "corp", "intranet", "private", "svc", "docker", "test"}

var labelForm = regexp.MustCompile(`^([A-Za-z0-9]+)-([0-9]+)$`)

// explainForm is about a name that no container can have.
func (v *visit) explainForm() {
	labels := strings.Split(strings.ToLower(v.name), ".")
	if m := labelForm.FindStringSubmatch(labels[0]); m != nil && len(labels) > 1 {
		v.blame("%s is no form of a name; did you mean %s.%s.%s?", v.name, m[2], m[1], strings.Join(labels[1:], "."))
		return
	}
	v.blame("%s is no form of a name; %s", v.name, zoneHint)
}

// explainApp is about an app that the network does not have.
func (v *visit) explainApp(ctx context.Context, n platform.PrivateName) error {
	for _, a := range v.apps {
		if !v.q.Visible[a.ID] || !strings.EqualFold(a.Name, n.AppName) && !strings.EqualFold(a.ID, n.AppID) {
			continue
		}
		theirs, err := v.Store.ProjectByID(ctx, a.ProjectID)
		if err != nil {
			return err
		}
		own, err := v.Store.ProjectByID(ctx, v.from.ProjectID)
		if err != nil {
			return err
		}
		v.add("network", Failed, "%s is in the project %s, %s in %s", a.Name, theirs.Name, v.from.AppName, own.Name)
		v.blame("%s is in the project %s and %s in %s, and private networks of projects never meet; put both into one project, or use the public address of %s", a.Name, theirs.Name, v.from.AppName, own.Name, a.Name)
		return nil
	}
	if n.AppName == "" {
		v.blame("the name has ids that are none of its own project; atoll names lists the right ones")
		return nil
	}
	for _, a := range v.neighbours() {
		if strings.EqualFold(a.Name, n.Type) {
			v.blame("there is no app %s in its project; did you mean %s?", n.AppName, short(platform.PrivateName{Number: n.Number, Type: n.AppName}, a.Name))
			return nil
		}
	}
	if near, ok := nearest(n.AppName, appNames(v.neighbours())); ok {
		n.AppName = near
		v.blame("there is no app %s in its project; did you mean %s?", v.parsed.AppName, strings.TrimSuffix(n.String(), "."))
		return nil
	}
	v.blame("there is no app %s in its project, %s", n.AppName, v.offerApps())
	return nil
}

// explainType is about an app that is there, without such a type or number.
func (v *visit) explainType(ctx context.Context, n platform.PrivateName) error {
	name := v.app.Name
	if !slices.ContainsFunc(v.app.Types, func(t string) bool { return strings.EqualFold(t, n.ServiceType()) }) {
		if slices.Contains([]string{platform.TypeOneOff, platform.TypePostdeploy, platform.TypeCron}, n.Type) {
			v.explainShortLived(n)
			return nil
		}
		switch near, ok := nearest(n.Type, v.app.Types); {
		case ok:
			n.Type = near
			v.blame("%s has no process type %s; did you mean %s?", name, v.parsed.Type, short(n, name))
		case !v.app.Deployed:
			v.blame("%s has never been deployed, and has no process type %s yet; run atoll deploy -a %s", name, n.Type, name)
		default:
			v.blame("%s has no process type %s; use %s", name, n.Type, v.offerTypes(n))
		}
		return nil
	}
	if amount, err := v.amount(ctx, n.ServiceType()); err != nil {
		return err
	} else if amount == 0 || !v.app.Deployed {
		return v.explainEmpty(ctx)
	}
	var labels []string
	for _, i := range v.containersOf(v.app.ID, platform.PrivateName{Type: n.Type}) {
		labels = append(labels, i.Label())
	}
	n.Number = 0
	v.blame("%s has no container %s; it has %s (%s means all of them)", name, platform.ContainerLabel(v.parsed.ServiceType(), v.parsed.Number), list(slices.Compact(labels)), short(n, name))
	return nil
}

// explainShortLived is about containers that run once.
func (v *visit) explainShortLived(n platform.PrivateName) {
	if n.Number == 0 {
		v.blame("containers of the type %[1]s have names of their own only, such as 1.%[1]s.%[2]s.internal", n.Type, v.app.Name)
		return
	}
	running := "none runs now"
	var labels []string
	for _, i := range v.containersOf(v.app.ID, platform.PrivateName{Type: n.Type}) {
		labels = append(labels, i.Label())
	}
	if len(labels) > 0 {
		running = "now there is " + list(slices.Compact(labels))
	}
	v.blame("%s of %s has ended, or never was: containers of the type %s have a name while they run; %s", platform.ContainerLabel(n.Type, n.Number), v.app.Name, n.Type, running)
}

// short is the short name without the final dot, as people write it.
func short(n platform.PrivateName, app string) string {
	return strings.TrimSuffix(platform.PrivateName{Number: n.Number, Type: n.Type, AppName: app}.String(), ".")
}

// neighbours are the apps of the own network.
func (v *visit) neighbours() []directory.App {
	var out []directory.App
	for _, a := range v.apps {
		if a.NetworkID == v.from.NetworkID {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b directory.App) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func appNames(apps []directory.App) []string {
	var out []string
	for _, a := range apps {
		out = append(out, a.Name)
	}
	return out
}

func (v *visit) offerApps() string {
	return fmt.Sprintf("which has %s; atoll names lists the names of an app", list(appNames(v.neighbours())))
}

func (v *visit) offerTypes(n platform.PrivateName) string {
	var names []string
	for _, t := range v.app.Types {
		names = append(names, short(platform.PrivateName{Type: t}, v.app.Name))
	}
	if len(names) == 0 {
		return "atoll deploy -a " + v.app.Name + " first"
	}
	return strings.Join(names, " or ")
}

// amount is how many containers of a type were wished for.
func (v *visit) amount(ctx context.Context, processType string) (int, error) {
	formation, err := v.Store.Formation(ctx, v.app.ID)
	if err != nil {
		return 0, err
	}
	for _, t := range formation {
		if strings.EqualFold(t.Name, processType) {
			return t.Amount, nil
		}
	}
	return 0, nil
}

// nearest finds the one candidate that a typing mistake or two lead away from.
func nearest(word string, candidates []string) (string, bool) {
	word = strings.ToLower(word)
	best, found := min(2, max(1, len(word)/3)), ""
	for _, c := range candidates {
		if d := distance(word, strings.ToLower(c)); d <= best && (found == "" || d < best) {
			best, found = d, c
		}
	}
	return found, found != ""
}

// distance counts the letters to insert, delete, change or swap.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
