package api

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
)

// networkJSON is the private network of a project; it has no root key.
//
// There is no gateway in our networks (the interface has a route to the
// range, nothing else), so Gateway says nothing rather than name an address
// that answers nobody. UsedIPs begins with the range's own address, which no
// container can have: clients read its first entry unasked and crash on an
// empty list. UsedIPsCount counts containers, to be compared with
// MaxIPsCount.
type networkJSON struct {
	ID           string   `json:"id"`
	Subnet       string   `json:"subnet"`
	Gateway      string   `json:"gateway"`
	MaxIPsCount  int      `json:"max_ips_count"`
	UsedIPsCount int      `json:"used_ips_count"`
	UsedIPs      []string `json:"used_ips"`
}

func (a *API) showNetwork(q *request) (response, error) {
	p, err := a.Store.Project(q.Context(), q.user.ID, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	rows, _ := a.Roster.Snapshot()
	used := usedAddresses(rows, p.Network.ID)
	shown := networkJSON{ID: p.Network.ID, Subnet: platform.NetworkPrefix.String(), MaxIPsCount: platform.MaxMembers,
		UsedIPsCount: len(used), UsedIPs: []string{platform.NetworkPrefix.Addr().String()}}
	for _, addr := range used {
		shown.UsedIPs = append(shown.UsedIPs, addr.String())
	}
	return ok(shown)
}

// maxNamesPerPage bounds a page of names.
const maxNamesPerPage = 50

// listDomainNames lists the names of an app in its private network, each
// with its final dot. Its meta has no "pagination" level.
func (a *API) listDomainNames(q *request) (response, error) {
	page, err := q.page(20, maxNamesPerPage)
	if err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	project, err := a.Store.ProjectByID(q.Context(), app.ProjectID)
	if err != nil {
		return nil, err
	}
	formation, err := a.Store.Formation(q.Context(), app.ID)
	if err != nil {
		return nil, err
	}
	rows, _ := a.Roster.Snapshot()
	names := privateNames(app, project.Network.ID, formation, rows)
	return ok(object{"domain_names": object{"data": part(names, page), "meta": paginate(page, len(names))}})
}

// Private

func usedAddresses(rows []platform.Instance, networkID string) []netip.Addr {
	used := []netip.Addr{}
	for _, i := range rows {
		if i.NetworkID == networkID && i.PrivateAddr.IsValid() {
			used = append(used, i.PrivateAddr)
		}
	}
	slices.SortFunc(used, netip.Addr.Compare)
	return slices.Compact(used)
}

// privateNames returns the app's name, then each process type with the
// numbers that are there now, then the numbers of one-offs and hooks, which
// have no name of their type (architecture, decision 8).
func privateNames(app platform.App, networkID string, formation []platform.ProcessType, rows []platform.Instance) []string {
	name := func(processType string, number int) string {
		return platform.PrivateName{AppID: app.ID, NetworkID: networkID, Type: processType, Number: number}.String()
	}
	services := map[string][]int{}
	for _, t := range formation {
		services[t.Name] = nil
	}
	jobs := map[string][]int{}
	for _, i := range rows {
		switch {
		case i.AppID != app.ID || !i.PrivateAddr.IsValid():
		case i.Kind == platform.KindApp:
			services[i.Type] = append(services[i.Type], i.Number)
		default:
			jobs[i.Type] = append(jobs[i.Type], i.Number)
		}
	}
	names := []string{name("", 0)}
	for _, t := range sortedKeys(services) {
		names = append(names, name(t, 0))
		for _, n := range distinct(services[t]) {
			names = append(names, name(t, n))
		}
	}
	for _, t := range sortedKeys(jobs) {
		for _, n := range distinct(jobs[t]) {
			names = append(names, name(t, n))
		}
	}
	return names
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func distinct[T cmp.Ordered](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
