// Package directory is the part of the desired table that views need beside
// the roster: which apps there are, their names, networks, process types and
// public hosts. With it the resolver can tell an existing name without
// containers from an unknown one, and the router a stopped app from an
// unknown host.
//
// It is written by the control role after each commit to the store, and read
// by the views. It imports platform and live only.
package directory

import (
	"maps"

	"github.com/atollhq/atoll/internal/live"
)

// App is what views know of an app.
type App struct {
	ID        string
	Name      string
	ProjectID string
	NetworkID string
	// Types are the process types of its formation, at 0 containers too.
	Types []string
	// Hosts are the public host names, lower case, without port.
	Hosts []string
	// Deployed: it has a release.
	Deployed bool
	// RouterLogs: each request is a line of the app's log (RT-34).
	RouterLogs bool
}

// Directory maps app ids to apps. It is safe for concurrent use.
type Directory struct {
	apps *live.Value[map[string]App]
}

// New returns an empty directory.
func New() *Directory {
	return &Directory{apps: live.New(map[string]App{})}
}

// Snapshot returns all apps by id and a channel that is closed at the next
// change. The map is shared: do not modify it.
func (d *Directory) Snapshot() (map[string]App, <-chan struct{}) {
	return d.apps.Load()
}

// Set replaces the whole directory; for the start of the control role.
func (d *Directory) Set(apps []App) {
	d.apps.Update(func(map[string]App) (map[string]App, bool) {
		out := make(map[string]App, len(apps))
		for _, a := range apps {
			out[a.ID] = a
		}
		return out, true
	})
}

// Put adds or replaces one app.
func (d *Directory) Put(app App) {
	d.apps.Update(func(now map[string]App) (map[string]App, bool) {
		out := maps.Clone(now)
		out[app.ID] = app
		return out, true
	})
}

// Delete removes an app; one that is not there is no error.
func (d *Directory) Delete(id string) {
	d.apps.Update(func(now map[string]App) (map[string]App, bool) {
		if _, ok := now[id]; !ok {
			return now, false
		}
		out := maps.Clone(now)
		delete(out, id)
		return out, true
	})
}
