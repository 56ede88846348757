package api

import (
	"cmp"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// containerJSON is a container that is there. Atoll has what the original
// API has no word for.
type containerJSON struct {
	ID        string         `json:"id"`
	AppID     string         `json:"app_id"`
	App       appRef         `json:"app"`
	CreatedAt *time.Time     `json:"created_at"`
	DeletedAt *time.Time     `json:"deleted_at"`
	Type      string         `json:"type"`
	TypeIndex int            `json:"type_index"`
	Label     string         `json:"label"`
	State     string         `json:"state"`
	Command   string         `json:"command"`
	Size      sizeJSON       `json:"container_size"`
	Atoll     containerExtra `json:"atoll"`
}

// appRef is what an answer about something else says of its app. It is an
// object also where a name would do: clients decode an app there.
type appRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type containerExtra struct {
	// PrivateIP is "" while it has none.
	PrivateIP string `json:"private_ip"`
	// InService: it is in the names of its type and, for web, behind the
	// router.
	InService bool `json:"in_service"`
	// Reason explains the states crashed and failed, and a start that waits.
	Reason   string         `json:"reason"`
	Restarts int            `json:"restarts"`
	RetryAt  *time.Time     `json:"retry_at"`
	Version  string         `json:"version"`
	Node     string         `json:"node"`
	Listens  []listenerJSON `json:"listens"`
}

type listenerJSON struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Port     uint16 `json:"port"`
}

// ps lists the containers of an app, one-offs and the ones being replaced
// included.
func (a *API) ps(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	all, _ := a.Roster.Snapshot()
	rows := slices.DeleteFunc(slices.Clone(all), func(i platform.Instance) bool { return i.AppID != app.ID || i.State == platform.InstanceEnded })
	// Of several with the same number, first the one whose number it is.
	slices.SortStableFunc(rows, func(x, y platform.Instance) int {
		if order := cmp.Or(cmp.Compare(x.Type, y.Type), cmp.Compare(x.Number, y.Number)); order != 0 {
			return order
		}
		switch {
		case x.Precedes(y):
			return -1
		case y.Precedes(x):
			return 1
		}
		return 0
	})
	list := []containerJSON{}
	for _, i := range rows {
		list = append(list, showContainer(app, i))
	}
	return ok(object{"containers": list})
}

// Private

func showContainer(app platform.App, i platform.Instance) containerJSON {
	c := containerJSON{
		ID: i.ID, AppID: app.ID, App: appRef{ID: app.ID, Name: app.Name}, CreatedAt: date(i.CreatedAt),
		Type: i.Type, TypeIndex: i.Number, Label: i.Label(), State: string(i.State), Command: i.Command, Size: showSize(i.Size),
		Atoll: containerExtra{InService: i.InService(), Reason: i.Reason, Restarts: i.Restarts, RetryAt: date(i.RetryAt),
			Version: i.Version, Node: i.Node, Listens: []listenerJSON{}},
	}
	if i.CreatedAt.IsZero() { // clients crash on null
		c.CreatedAt = &i.CreatedAt
	}
	if i.PrivateAddr.IsValid() {
		c.Atoll.PrivateIP = i.PrivateAddr.String()
	}
	for _, l := range i.Observation.Listeners {
		c.Atoll.Listens = append(c.Atoll.Listens, listenerJSON{Protocol: l.Protocol, Address: l.Addr.String(), Port: l.Port})
	}
	return c
}
