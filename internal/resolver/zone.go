package resolver

import (
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
)

// zone holds the names of one private network. They are made when the first
// question comes, so that a change in one network costs the others nothing,
// and many changes in a row cost no more than the last.
type zone struct {
	id        string
	directory []directory.App
	rows      []*platform.Instance
	askers    []*asker

	once sync.Once
	// names are all that exist, long and short, on the wire and in lower
	// case, with the addresses they have now; without any they exist all the
	// same. What is not here is NXDOMAIN.
	names map[string][][4]byte
	// owners maps private addresses to the numbered long name.
	owners map[[4]byte]string
}

// built returns the zone with its names.
func (z *zone) built() *zone {
	z.once.Do(z.build)
	return z
}

func (z *zone) build() {
	apps := z.collect()
	z.names = make(map[string][][4]byte, 2*len(z.rows)+8*len(apps))
	z.owners = make(map[[4]byte]string, len(z.rows))
	// Above the names of containers (empty non-terminals, RFC 8020).
	long := platform.PrivateName{AppID: "x", NetworkID: z.id}.String()
	for range 3 {
		_, long, _ = strings.Cut(long, ".")
		z.add(long, nil)
	}
	for _, a := range apps {
		for _, name := range a.names(z.id) {
			z.addApp(a, name)
		}
	}
	z.addOwners(apps)
}

// collect sorts the containers of the network by app and service.
func (z *zone) collect() map[string]*app {
	apps := map[string]*app{}
	for _, a := range z.directory {
		entry := &app{id: strings.ToLower(a.ID), name: strings.ToLower(a.Name), services: map[string]*service{}}
		apps[entry.id] = entry
		for _, t := range a.Types {
			entry.service(t)
		}
	}
	taken := map[string]bool{}
	for _, a := range apps {
		taken[a.name] = true
	}
	for _, inst := range z.rows {
		id := strings.ToLower(inst.AppID)
		a := apps[id]
		// Apps that the directory does not know (the control role has not
		// started yet) are served all the same; of two names for one app the
		// directory's counts.
		if a == nil {
			a = &app{id: id, name: strings.ToLower(inst.AppName), services: map[string]*service{}}
			if taken[a.name] {
				a.name = ""
			}
			taken[a.name] = true
			apps[id] = a
		}
		a.add(inst)
	}
	return apps
}

// addApp enters everything below one of the app's names.
func (z *zone) addApp(a *app, name platform.PrivateName) {
	z.add(name.String(), a.services[name.ServiceType()].addresses())
	for label, s := range a.services {
		name.Type = label
		name.Number = 0
		z.add(name.String(), s.addresses())
		for number, holder := range s.members {
			name.Number = number
			if addr, ok := wireAddr(holder.PrivateAddr); ok {
				z.add(name.String(), [][4]byte{addr})
			} else {
				z.add(name.String(), nil)
			}
		}
	}
}

func (z *zone) add(name string, addrs [][4]byte) {
	if wire, ok := wireName(name); ok {
		z.names[wire] = addrs
	}
}

// addOwners enters who has which address, and the own names of the askers.
func (z *zone) addOwners(apps map[string]*app) {
	for _, inst := range z.rows {
		if addr, ok := wireAddr(inst.PrivateAddr); ok {
			z.owners[addr], _ = wireName(numbered(inst, apps)[0].String())
		}
	}
	for _, who := range z.askers {
		names := numbered(who.inst, apps)
		who.long, _ = wireName(names[0].String())
		if len(names) > 1 {
			who.short, _ = wireName(names[1].String())
		}
	}
}

// numbered are the names of one container, the long one first.
func numbered(inst *platform.Instance, apps map[string]*app) []platform.PrivateName {
	names := apps[strings.ToLower(inst.AppID)].names(inst.NetworkID)
	for i := range names {
		names[i].Number, names[i].Type = inst.Number, label(inst)
	}
	return names
}

// app is what has names below an app's.
type app struct {
	id string
	// name is "" for an app without a short name.
	name     string
	services map[string]*service
}

// names are the app's own, the long one first.
func (a *app) names(networkID string) []platform.PrivateName {
	names := []platform.PrivateName{{AppID: a.id, NetworkID: networkID}}
	short := platform.PrivateName{AppName: a.name}
	// An app may be called like a branch of the zone; that one comes first.
	if _, ok := platform.ParsePrivateName(short.String()); ok && a.name != "" {
		names = append(names, short)
	}
	return names
}

// service is one label in front of an app: a process type, or one-off.
type service struct {
	// addrs are what the type's name resolves to.
	addrs [][4]byte
	// members are what the numbered names resolve to.
	members map[int]*platform.Instance
}

func (s *service) addresses() [][4]byte {
	if s == nil {
		return nil
	}
	return s.addrs
}

func (a *app) service(label string) *service {
	label = strings.ToLower(label)
	s := a.services[label]
	if s == nil {
		s = &service{members: map[int]*platform.Instance{}}
		a.services[label] = s
	}
	return s
}

// add enters a container under its service.
func (a *app) add(inst *platform.Instance) {
	if inst.Leaving() && inst.Kind != platform.KindApp {
		return
	}
	// A process type exists as long as anything of it does; it must not
	// become NXDOMAIN while its last container drains.
	s := a.service(label(inst))
	if inst.Leaving() {
		return
	}
	if addr, ok := wireAddr(inst.PrivateAddr); ok && inst.InService() {
		s.addrs = append(s.addrs, addr)
	}
	if holder := s.members[inst.Number]; holder == nil || inst.Precedes(*holder) {
		s.members[inst.Number] = inst
	}
}

// label is the part of a container's name in front of its app.
func label(inst *platform.Instance) string {
	switch inst.Kind {
	case platform.KindOneOff:
		return platform.TypeOneOff
	case platform.KindPostdeploy:
		return platform.TypePostdeploy
	case platform.KindCron:
		return platform.TypeCron
	default:
		return inst.Type
	}
}
