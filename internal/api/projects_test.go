package api

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestProjects(t *testing.T) {
	s := newServer(t)
	a := s.ask("POST", "/v1/projects", `{"project":{"name":"staging","default":false}}`, 201)
	id := a.at("project", "id").(string)
	if !strings.HasPrefix(id, "prj-") {
		t.Errorf("id is %q", id)
	}
	a.want("ada", "project", "owner", "username")
	a.want(false, "project", "default")
	a.want(true, "project", "flags", "private-network")
	a.wantDate("project", "created_at")

	s.ask("PATCH", "/v1/projects/"+id, `{"project":{"name":"preprod"}}`, 200).want("preprod", "project", "name")
	s.ask("PATCH", "/v1/projects/"+id, `{"project":{"default":true}}`, 200).want(true, "project", "default")
	s.ask("PATCH", "/v1/projects/"+id, `{"project":{"default":false}}`, 422).at("errors", "default", 0)
	a = s.ask("GET", "/v1/projects", "", 200)
	if n := len(a.at("projects").([]any)); n != 2 {
		t.Errorf("%d projects, want 2", n)
	}
	s.ask("DELETE", "/v1/projects/"+id, "", 409).at("error") // it is the default one
	s.ask("POST", "/v1/projects", `{"project":{"name":"Not OK"}}`, 422).at("errors", "name", 0)
	s.ask("POST", "/v1/projects", `{"project":{}}`, 422).at("errors", "name", 0)

	second := s.ask("POST", "/v1/projects", `{"project":{"name":"second"}}`, 201).at("project", "id").(string)
	if a := s.ask("DELETE", "/v1/projects/"+second, "", 204); a.text != "" {
		t.Errorf("204 with a body %q", a.text)
	}
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		if a := s.send(call{method: method, path: "/v1/projects/" + id, body: `{"project":{"name":"x"}}`, bearer: s.bobJWT}); a.status != 404 {
			t.Errorf("%s of another's project answered %d", method, a.status)
		}
	}
	if a := s.send(call{method: "GET", path: "/v1/projects/" + id + "/private_network", bearer: s.bobJWT}); a.status != 404 {
		t.Errorf("the network of another's project answered %d", a.status)
	}
}

func TestThePrivateNetworkOfAProject(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	network := s.networkOf(app)
	path := "/v1/projects/" + app.ProjectID + "/private_network"

	// Clients read used_ips[0] and used_ips[1:] unasked.
	a := s.ask("GET", path, "", 200)
	if n := len(a.at("used_ips").([]any)); n < 1 {
		t.Fatalf("used_ips of an empty network is empty: %s", a.text)
	}
	a.want(0., "used_ips_count")

	for i, addr := range []string{"10.240.1.7", "10.240.0.9", ""} {
		inst := platform.Instance{ID: platform.NewID(), NetworkID: network.ID, AppID: app.ID, Type: "web", Number: i + 1}
		if addr != "" {
			inst.PrivateAddr = netip.MustParseAddr(addr)
		}
		s.roster.Put(inst)
	}
	s.roster.Put(platform.Instance{ID: "elsewhere", NetworkID: "pn-other", AppID: "ap-other", PrivateAddr: netip.MustParseAddr("10.240.0.3")})
	a = s.ask("GET", path, "", 200)
	a.want(network.ID, "id")
	a.want("10.240.0.0/22", "subnet")
	a.want(1022., "max_ips_count")
	a.want(2., "used_ips_count")
	if diff := cmp.Diff([]any{"10.240.0.0", "10.240.0.9", "10.240.1.7"}, a.at("used_ips")); diff != "" {
		t.Error(diff)
	}
}

func TestPrivateNetworkDomainNames(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	suffix := "." + s.networkOf(app).ID + ".private-network.internal."
	put := func(kind platform.Kind, processType string, n int, addr string) {
		i := platform.Instance{ID: platform.NewID(), AppID: app.ID, Kind: kind, Type: processType, Number: n, Generation: int64(n)}
		if addr != "" {
			i.PrivateAddr = netip.MustParseAddr(addr)
		}
		s.roster.Put(i)
	}
	put(platform.KindApp, "api", 2, "10.240.0.3")
	put(platform.KindApp, "api", 1, "10.240.0.2")
	put(platform.KindApp, "api", 1, "10.240.0.8") // its replacement
	put(platform.KindApp, "api", 3, "")           // has no address yet
	put(platform.KindOneOff, "one-off", 1, "10.240.0.4")

	path := "/v1/apps/some-app/private_network_domain_names"
	a := s.ask("GET", path, "", 200)
	want := []any{app.ID + suffix, "api." + app.ID + suffix, "1.api." + app.ID + suffix, "2.api." + app.ID + suffix,
		"web." + app.ID + suffix, "1.one-off." + app.ID + suffix}
	if diff := cmp.Diff(want, a.at("domain_names", "data")); diff != "" {
		t.Error(diff)
	}
	a = s.ask("GET", path+"?page=2&per_page=4", "", 200)
	if diff := cmp.Diff(want[4:], a.at("domain_names", "data")); diff != "" {
		t.Error(diff)
	}
	// No "pagination" level here.
	for key, value := range map[string]any{"current_page": 2., "per_page": 4., "prev_page": 1., "next_page": nil, "total_pages": 2., "total_count": 6.} {
		a.want(value, "domain_names", "meta", key)
	}
	for _, bad := range []int{0, 51} {
		s.ask("GET", fmt.Sprintf("%s?per_page=%d", path, bad), "", 422).at("errors", "per_page", 0)
	}
}
