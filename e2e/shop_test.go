package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// TestShop deploys examples/shop as its README says, and looks at it from
// everywhere: a public gateway, a private catalog, a worker.
func TestShop(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	t.Run("public", s.public)
	t.Run("interfaces", s.interfaces)
	t.Run("names", s.names)
	t.Run("names outside", s.namesOutside)
	t.Run("closed to the internet", s.closedToInternet)
	t.Run("closed to other projects", s.closedToOthers)
	t.Run("environment", s.environment)
	t.Run("egress", s.egress)
	t.Run("worker", s.worker)
	t.Run("three containers", s.threeContainers)
}

type shop struct {
	*rig.Machine
	catalog, gateway, workers, stranger rig.App
	// One container of each.
	api, web, other rig.Container
}

func openShop(t *testing.T) *shop {
	m := rig.Use(t)
	project := m.Project(t, "shop")
	s := &shop{Machine: m, catalog: m.App(t, project, "shop-catalog"), gateway: m.App(t, project, "shop-gateway"), workers: m.App(t, project, "shop-worker"),
		stranger: m.App(t, m.Project(t, "elsewhere"), "shop-stranger")}
	const catalogURL = "CATALOG_URL=http://api.shop-catalog.internal:3000"
	s.catalog.Must(t, "scale", "web:0")
	s.workers.Must(t, "scale", "web:0")
	s.catalog.Must(t, "env", "set", "MOTTO=small but real")
	s.gateway.Must(t, "env", "set", catalogURL)
	s.workers.Must(t, "env", "set", catalogURL)
	s.catalog.Deploy(t, rig.Example(t, "shop/catalog"))
	s.catalog.Must(t, "scale", "api:1")
	s.gateway.Must(t, "deploy", rig.Example(t, "shop/gateway"), "--ref", "v1.0")
	s.workers.Deploy(t, rig.Example(t, "shop/worker"))
	s.workers.Must(t, "scale", "worker:1")
	s.stranger.Deploy(t, rig.Example(t, "stranger"))
	s.api, s.web, s.other = s.catalog.Container(t, "api-1"), s.gateway.Container(t, "web-1"), s.stranger.Container(t, "web-1")
	return s
}

// products is what the gateway answers at /products.
type products struct {
	Gateway   string
	Catalog   string
	RequestID string `json:"request_id"`
	Products  []struct{ Name string }
}

func (s *shop) public(t *testing.T) {
	const id = "this-request-has-an-id"
	var got products
	s.Get(t, 200, s.gateway.URL("/products"), "X-Request-ID", id).Read(t, &got)
	if got.Gateway != "web-1" || got.Catalog != "api-1" || len(got.Products) != 3 || got.Products[0].Name != "Coral lamp" {
		t.Errorf("the gateway answers %+v", got)
	}
	if got.RequestID != id {
		t.Errorf("the request's id is %q inside, want %q", got.RequestID, id)
	}
	if page := s.Get(t, 200, s.gateway.URL("/")); !strings.Contains(page.Body, "Lagoon mug") {
		t.Errorf("the page has no products: %s", page.Body)
	}
	s.Get(t, 503, s.catalog.URL("/")) // web:0
	s.Get(t, 404, "http://no-such-app."+rig.BaseDomain+"/")
}

func (s *shop) interfaces(t *testing.T) {
	for _, c := range []rig.Container{s.api, s.web} {
		eth0, bits := c.Address(t, "eth0")
		if !strings.HasPrefix(eth0, "172.17.") || bits != 32 {
			t.Errorf("eth0 of %s has %s/%d, want one of 172.17.0.0/16 by itself", c.Label, eth0, bits)
		}
		pn0, bits := c.Address(t, "pn0")
		if pn0 != c.Atoll.PrivateIP || !strings.HasPrefix(pn0, "10.240.") || bits != 32 {
			t.Errorf("pn0 of %s has %s/%d, want %s/32", c.Label, pn0, bits, c.Atoll.PrivateIP)
		}
		routes, err := c.Run(t, "ip", "route", "show", "dev", "pn0")
		if err != nil || !regexp.MustCompile(`(?m)^10\.240\.0\.0/22 .*scope link`).MatchString(routes) || strings.Contains(routes, "via") {
			t.Errorf("the routes of pn0 are %q (%v), want 10.240.0.0/22 on the link", routes, err)
		}
	}
}

func (s *shop) names(t *testing.T) {
	address := "5 A " + s.api.Atoll.PrivateIP
	for _, short := range []string{"api.shop-catalog.internal.", "1.api.shop-catalog.internal."} {
		for _, name := range []string{short, s.catalog.LongName(t, short)} {
			s.web.WantAnswer(t, name, "A", "NOERROR", address)
			s.web.WantAnswer(t, name, "AAAA", "NOERROR")
		}
	}
	s.web.WantAnswer(t, "API.Shop-Catalog.INTERNAL.", "A", "NOERROR", address)
	s.api.WantAnswer(t, "api.shop-catalog.internal.", "A", "NOERROR", address)
	s.api.WantAnswer(t, "shop-gateway.internal.", "A", "NOERROR", "5 A "+s.web.Atoll.PrivateIP)
	// The app is there, and has nothing that the name could mean.
	s.web.WantAnswer(t, "shop-catalog.internal.", "A", "NOERROR")
	for _, name := range []string{"no-such-app.internal.", "worker.shop-catalog.internal.", "2.api.shop-catalog.internal.", "private-network.internal."} {
		if got := s.web.Dig(t, name, "A"); got.Status != "NXDOMAIN" && name != "private-network.internal." || len(got.Records) > 0 {
			t.Errorf("%s: %v, want NXDOMAIN", name, got)
		}
	}
}

func (s *shop) namesOutside(t *testing.T) {
	s.web.WantAnswer(t, "echo.example.", "A", "NOERROR", "60 A "+lab.EchoAddr)
	s.web.WantAnswer(t, "nowhere.example.", "A", "NXDOMAIN")
	questions, err := s.Lab.UpstreamQuestions()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(questions, func(q lab.Question) bool { return q.Name == "echo.example." }) {
		t.Error("the upstream resolver was not asked for a name outside")
	}
	if leaked := s.LeakedQuestions(); len(leaked) > 0 {
		t.Errorf("the upstream resolver was asked for %q", leaked)
	}
}

func (s *shop) closedToInternet(t *testing.T) {
	apiOutside, _ := s.api.Address(t, "eth0")
	webOutside, _ := s.web.Address(t, "eth0")
	for _, addr := range []string{
		lab.ServerAddr + ":3000", s.api.Atoll.PrivateIP + ":3000", apiOutside + ":3000", // the catalog
		lab.ServerAddr + ":8080", s.web.Atoll.PrivateIP + ":8080", webOutside + ":8080", // past the router
	} {
		s.WantClosed(t, addr)
	}
	for _, resolver := range []string{lab.ServerAddr + ":53", "172.17.0.1:53", s.web.Atoll.PrivateIP + ":53"} {
		s.WantNoAnswer(t, resolver, "api.shop-catalog.internal.")
	}
}

func (s *shop) closedToOthers(t *testing.T) {
	for _, short := range []string{"api.shop-catalog.internal.", "1.api.shop-catalog.internal.", "shop-gateway.internal."} {
		s.other.WantAnswer(t, short, "A", "NXDOMAIN")
		s.other.WantRefused(t, rig.Private(short))
	}
	long := s.catalog.LongName(t, "api.shop-catalog.internal.")
	s.other.WantAnswer(t, long, "A", "NXDOMAIN")
	s.other.WantRefused(t, rig.Private(long))

	apiOutside, _ := s.api.Address(t, "eth0")
	webOutside, _ := s.web.Address(t, "eth0")
	for _, url := range []string{rig.Private(s.api.Atoll.PrivateIP), rig.Private(apiOutside), "http://" + webOutside + ":8080/"} {
		s.other.WantRefused(t, url)
	}
	// The same from within the project: only the private side is open.
	if _, err := s.web.Fetch(t, rig.Private(s.api.Atoll.PrivateIP)+"products"); err != nil {
		t.Error(err)
	}
	s.web.WantRefused(t, rig.Private(apiOutside))
}

func (s *shop) environment(t *testing.T) {
	var info struct {
		ID       string   `json:"id"`
		Networks []string `json:"private_networks_ids"`
	}
	s.catalog.Read(t, &info, "info")
	if len(info.Networks) != 1 {
		t.Fatalf("the catalog is in the networks %q, want one", info.Networks)
	}
	deployments := s.catalog.Deployments(t)
	want := map[string]string{
		"APP": "shop-catalog", "CONTAINER": "api-1", "HOSTNAME": "shop-catalog-api-1", "CONTAINER_VERSION": deployments[0].ID,
		"CONTAINER_SIZE": "M", "CONTAINER_MEMORY": "536870912", "SCALINGO_APPLICATION_ID": info.ID, "STACK": "atoll-12", "REGION_NAME": "local",
		"SCALINGO_PRIVATE_NETWORK_ID": info.Networks[0], "SCALINGO_PRIVATE_HOSTNAME": s.catalog.LongName(t, "1.api.shop-catalog.internal."),
		"ATOLL_PRIVATE_IP": s.api.Atoll.PrivateIP, "ATOLL_PRIVATE_INTERFACE": "pn0", "MOTTO": "small but real", "HOME": "/app",
		"PATH": "/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/app/bin",
	}
	env := s.api.Environment(t)
	got := map[string]string{}
	for name := range want {
		got[name] = env[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables of a private container (-want +got):\n%s", diff)
	}
	if port, ok := env["PORT"]; ok {
		t.Errorf("PORT is %q in a private container, want none", port)
	}
	web := s.web.Environment(t)
	if web["PORT"] != "8080" || web["CONTAINER_VERSION"] != "v1.0" {
		t.Errorf("PORT is %q and CONTAINER_VERSION %q in web, want 8080 and v1.0", web["PORT"], web["CONTAINER_VERSION"])
	}
}

func (s *shop) egress(t *testing.T) {
	for _, c := range []rig.Container{s.api, s.web} {
		var echo lab.Echo
		c.MustFetch(t, &echo, "http://echo.example/")
		if !strings.HasPrefix(echo.Source, lab.ServerAddr+":") {
			t.Errorf("the internet sees %s as %s, want the server, %s", c.Label, echo.Source, lab.ServerAddr)
		}
	}
}

func (s *shop) worker(t *testing.T) {
	rig.Await(t, 20*time.Second, "the worker to reach the catalog by its name", func() error {
		if logs := s.workers.Must(t, "logs", "-n", "5", "-F", "worker"); !strings.Contains(logs, "stock is worth 2634.90, says api-1") {
			return fmt.Errorf("it says %s", logs)
		}
		return nil
	})
	s.workers.Container(t, "worker-1") // in service although it listens nowhere
}

func (s *shop) threeContainers(t *testing.T) {
	s.catalog.Must(t, "scale", "api:3")
	var records []string
	for _, label := range []string{"api-1", "api-2", "api-3"} {
		records = append(records, "5 A "+s.catalog.Container(t, label).Atoll.PrivateIP)
	}
	s.web.WantAnswer(t, "api.shop-catalog.internal.", "A", "NOERROR", records...)
	if c := s.catalog.Container(t, "api-1"); c.ID != s.api.ID {
		t.Errorf("scaling replaced api-1: %s, was %s", c.ID, s.api.ID)
	}
	served := map[string]int{}
	rig.Await(t, 30*time.Second, "answers from three containers", func() error {
		var got products
		s.Get(t, 200, s.gateway.URL("/products")).Read(t, &got)
		if served[got.Catalog]++; len(served) < 3 {
			return fmt.Errorf("answers so far: %v", served)
		}
		return nil
	})
	if got := slices.Sorted(maps.Keys(served)); !slices.Equal(got, []string{"api-1", "api-2", "api-3"}) {
		t.Errorf("answers come from %q", got)
	}
}
