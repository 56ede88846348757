package api

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/oneoff/oneofftest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// The types into which the scalingo command line decodes answers. One value
// of another type makes all of an answer unreadable to it, so each answer is
// decoded here as it is there. Pointers are what it uses without a check.
type (
	clientUser struct {
		ID, Username, Email string
	}
	clientApp struct {
		ID, Name, Region   string
		Owner              clientUser
		GitURL             string     `json:"git_url"`
		URL                string     `json:"url"`
		BaseURL            string     `json:"base_url"`
		Status             string     `json:"status"`
		LastDeployedAt     *time.Time `json:"last_deployed_at"`
		LastDeployedBy     string     `json:"last_deployed_by"`
		CreatedAt          *time.Time `json:"created_at"`
		UpdatedAt          *time.Time `json:"updated_at"`
		StackID            string     `json:"stack_id"`
		StickySession      bool       `json:"sticky_session"`
		ForceHTTPS         bool       `json:"force_https"`
		RouterLogs         bool       `json:"router_logs"`
		HDSResource        bool       `json:"hds_resource"`
		Flags              map[string]bool
		Limits             map[string]any
		PrivateNetworksIDs []string `json:"private_networks_ids"`
		Project            struct{ ID, Name string }
		Links              *struct {
			DeploymentsStream string `json:"deployments_stream"`
		}
	}
	clientSize struct {
		ID, SKU, Name   string
		HumanName       string `json:"human_name"`
		HumanCPU        string `json:"human_cpu"`
		Memory          int
		PIDsLimit       int `json:"pids_limit"`
		HourlyPrice     int `json:"hourly_price"`
		ThirtydaysPrice int `json:"thirtydays_price"`
		Pricings        map[string]map[string]string
		Swap, Ordinal   int
	}
	clientContainer struct {
		ID            string
		AppID         string     `json:"app_id"`
		CreatedAt     *time.Time `json:"created_at"`
		DeletedAt     *time.Time `json:"deleted_at"`
		Command, Type string
		TypeIndex     int `json:"type_index"`
		Label, State  string
		App           *clientApp
		Size          clientSize `json:"container_size"`
	}
	clientFormation struct {
		Containers []struct {
			AppID               string `json:"app_id"`
			Name, Command, Size string
			Amount              int
		}
	}
	clientOperation struct {
		ID                  string
		AppID               string    `json:"app_id"`
		CreatedAt           time.Time `json:"created_at"`
		FinishedAt          time.Time `json:"finished_at"`
		Status, Type, Error string
		StartOneOff         struct {
			AttachURL   string `json:"attach_url"`
			ContainerID string `json:"container_id"`
		} `json:"start_one_off_data"`
	}
	clientJob struct {
		Command, Size string
		Last          time.Time `json:"last_execution_date"`
		Next          time.Time `json:"next_execution_date"`
	}
	clientPages struct {
		CurrentPage int `json:"current_page"`
		PrevPage    int `json:"prev_page"`
		NextPage    int `json:"next_page"`
		TotalPages  int `json:"total_pages"`
		TotalCount  int `json:"total_count"`
	}
	clientDeployment struct {
		ID             string
		AppID          string     `json:"app_id"`
		CreatedAt      *time.Time `json:"created_at"`
		Status         string
		GitRef         string `json:"git_ref"`
		Image          string
		Registry       string
		Duration       int
		PostdeployHook string      `json:"postdeploy_hook"`
		ImageSize      uint64      `json:"image_size"`
		StackBaseImage string      `json:"stack_base_image"`
		Pusher         *clientUser `json:"pusher"`
		Links          *struct{ Output string }
	}
	clientProject struct {
		ID, Name  string
		Default   bool
		Flags     map[string]bool
		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
		Owner     clientUser
	}
	clientVariable struct{ ID, Name, Value string }
	clientToken    struct {
		ID, Name, Token string
		CreatedAt       time.Time `json:"created_at"`
		LastUsedAt      time.Time `json:"last_used_at"`
	}
	clientEvent struct {
		ID          string
		AppID       string    `json:"app_id"`
		CreatedAt   time.Time `json:"created_at"`
		User        clientUser
		Type        string
		AppName     string          `json:"app_name"`
		Data        json.RawMessage `json:"type_data"`
		ProjectID   string          `json:"project_id"`
		ProjectName string          `json:"project_name"`
	}
)

// clientEventData is what it decodes the type_data of our events into.
func clientEventData(kind string) any {
	type variables []clientVariable
	switch kind {
	case "new_app":
		return &struct {
			GitSource string `json:"git_source"`
		}{}
	case "scale":
		return &struct {
			Before map[string]string `json:"previous_containers"`
			After  map[string]string `json:"containers"`
		}{}
	case "run":
		return &struct {
			Command  string
			Detached bool
		}{}
	case "edit_variables":
		return &struct {
			New     variables `json:"new_vars"`
			Updated variables `json:"updated_vars"`
			Deleted variables `json:"deleted_vars"`
		}{}
	case "new_project":
		return &struct{ Default bool }{}
	case "edit_project":
		return &struct {
			Values []struct {
				Name, Value string
				OldValue    string `json:"old_value"`
			} `json:"updated_values"`
		}{}
	}
	return &map[string]any{}
}

// into decodes an answer as a client does.
func (a reply) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.text), v); err != nil {
		a.t.Errorf("a client cannot decode %s: %v", a.text, err)
	}
}

func (c clientContainer) check(t *testing.T, app platform.App) {
	t.Helper()
	if c.CreatedAt == nil || c.App == nil || c.App.ID != app.ID || c.App.Name != app.Name || c.AppID != app.ID || c.Label == "" {
		t.Errorf("a client sees the container as %+v", c)
	}
}

func TestClientsDecodeTheAnswersAboutContainers(t *testing.T) {
	s := newServer(t)
	app := s.deployedApp("some-app")
	s.engine.Program = func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); return 143 }
	var run struct {
		Container    *clientContainer
		OperationURL string `json:"operation_url"`
	}
	s.ask("POST", "/v1/apps/some-app/run", `{"command":"sleep 100","detached":true,"size":"M","env":{},"has_uploads":false}`, 200).into(&run)
	run.Container.check(t, app)
	attached := s.ask("POST", "/v1/apps/some-app/run", `{"command":"bash"}`, 200)
	attached.into(&run)
	run.Container.check(t, app)
	var operation struct{ Operation clientOperation }
	s.send(call{method: "GET", path: run.OperationURL, bearer: s.adaJWT}).into(&operation)
	if o := operation.Operation; o.StartOneOff.AttachURL == "" || o.Status != "done" || o.StartOneOff.ContainerID != run.Container.ID {
		t.Errorf("a client sees the operation as %+v", o)
	}

	s.roster.Put(platform.Instance{ID: "c2", AppID: app.ID, Type: "web", Kind: platform.KindApp, Number: 1, Active: true,
		State: platform.InstanceRunning, PrivateAddr: netip.MustParseAddr("10.240.0.2"), Size: "L", Command: "serve"})
	var ps struct{ Containers []clientContainer }
	s.ask("GET", "/v1/apps/some-app/ps", "", 200).into(&ps)
	if len(ps.Containers) != 2 {
		t.Errorf("a client sees %d containers, want 2", len(ps.Containers))
	}
	for _, c := range ps.Containers {
		c.check(t, app)
		if c.Type == "one-off" {
			s.ask("POST", "/v1/apps/some-app/containers/"+c.ID+"/stop", "{}", 202).into(&map[string]any{})
		}
	}

	// Every value of it must be a number.
	var wait map[string]int
	s.send(call{method: "GET", path: attachPath + ps.Containers[0].ID + "/wait", basic: []string{"", s.adaJWT}}).into(&wait)
	if wait["exit_code"] != 143 {
		t.Errorf("a client sees the end as %v", wait)
	}

	var formation clientFormation
	s.ask("GET", "/v1/apps/some-app/containers", "", 200).into(&formation)
	s.control.deployed = true
	s.ask("POST", "/v1/apps/some-app/scale", `{"containers":[{"app_id":"","name":"web","amount":2,"command":"","size":""}]}`, 202).into(&formation)
	if len(formation.Containers) == 0 || formation.Containers[0].Name != "web" {
		t.Errorf("a client sees the formation %+v", formation)
	}
	var sizes struct {
		Sizes []clientSize `json:"container_sizes"`
	}
	s.ask("GET", "/v1/features/container_sizes", "", 200).into(&sizes)
	if len(sizes.Sizes) != len(platform.Sizes) {
		t.Errorf("a client sees the sizes %+v", sizes)
	}

	jobs := []platform.Job{{Schedule: "*/10 * * * *", Command: "bin/purge", Size: "L"}}
	if err := s.store.Commit(t.Context(), app.ID, &store.Change{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	var tasks struct{ Jobs []clientJob }
	s.ask("GET", "/v1/apps/some-app/cron_tasks", "", 200).into(&tasks)
	if len(tasks.Jobs) != 1 || tasks.Jobs[0].Next.IsZero() || !tasks.Jobs[0].Last.IsZero() {
		t.Errorf("a client sees the tasks %+v", tasks)
	}
}

func TestClientsDecodeTheOtherAnswers(t *testing.T) {
	s := newServer(t)
	app := s.deployedApp("some-app")
	one := func(a *clientApp) {
		t.Helper()
		if a == nil || a.ID == "" || a.Links == nil || a.Links.DeploymentsStream == "" {
			t.Errorf("a client sees the app as %+v", a)
		}
	}
	var shown struct{ App *clientApp }
	s.ask("POST", "/v1/apps", `{"app":{"name":"other-app"}}`, 201).into(&shown)
	one(shown.App)
	s.ask("GET", "/v1/apps/some-app", "", 200).into(&shown)
	one(shown.App)
	var apps struct{ Apps []*clientApp }
	s.ask("GET", "/v1/apps", "", 200).into(&apps)
	one(apps.Apps[0])
	var logs struct {
		LogsURL string `json:"logs_url"`
		App     *clientApp
	}
	s.ask("GET", "/v1/apps/some-app/logs", "", 200).into(&logs)
	one(logs.App)

	var variables struct{ Variables []*clientVariable }
	s.ask("PUT", "/v1/apps/some-app/variables", `{"variables":[{"id":"","name":"A","value":"b"}]}`, 200).into(&variables)
	s.ask("GET", "/v1/apps/some-app/variables?aliases=true", "", 200).into(&variables)
	if len(variables.Variables) != 1 {
		t.Errorf("a client sees the variables %+v", variables)
	}

	source := s.ask("POST", "/v1/sources", "{}", 201)
	var urls struct {
		Source struct {
			UploadURL   string `json:"upload_url"`
			DownloadURL string `json:"download_url"`
		}
	}
	source.into(&urls)
	if a := s.upload(urls.Source.UploadURL, gzipped(t, "x")); a.status != 200 {
		t.Fatalf("the upload answered %d %s", a.status, a.text)
	}
	body, err := json.Marshal(map[string]any{"deployment": map[string]any{"git_ref": nil, "source_url": urls.Source.DownloadURL}})
	if err != nil {
		t.Fatal(err)
	}
	var deployment struct{ Deployment *clientDeployment }
	created := s.ask("POST", "/v1/apps/some-app/deployments", string(body), 201)
	created.into(&deployment)
	var deployments struct {
		Deployments []*clientDeployment
		Meta        struct{ Pagination clientPages }
	}
	s.ask("GET", "/v1/apps/some-app/deployments", "", 200).into(&deployments)
	for _, d := range append(deployments.Deployments, deployment.Deployment) {
		if d == nil || d.CreatedAt == nil || d.Pusher == nil || d.Links == nil {
			t.Errorf("a client sees the deployment as %+v", d)
		}
	}

	var project struct{ Project clientProject }
	s.ask("POST", "/v1/projects", `{"project":{"name":"shop","default":false}}`, 201).into(&project)
	s.ask("PATCH", "/v1/projects/"+project.Project.ID, `{"project":{"name":"store","default":true}}`, 200).into(&project)
	s.ask("GET", "/v1/projects/"+app.ProjectID, "", 200).into(&project)
	var projects struct{ Projects []clientProject }
	s.ask("GET", "/v1/projects", "", 200).into(&projects)
	if len(projects.Projects) != 2 || !project.Project.Flags["private-network"] {
		t.Errorf("a client sees the projects %+v", projects)
	}
	network := func() (n struct {
		ID, Subnet, Gateway string
		Max                 int      `json:"max_ips_count"`
		Used                int      `json:"used_ips_count"`
		UsedIPs             []string `json:"used_ips"`
	}) {
		t.Helper()
		s.ask("GET", "/v1/projects/"+app.ProjectID+"/private_network", "", 200).into(&n)
		if len(n.UsedIPs) == 0 {
			t.Errorf("a client crashes on a network without used addresses: %+v", n)
		}
		return n
	}
	network()
	s.roster.Put(platform.Instance{ID: "c2", AppID: app.ID, NetworkID: s.networkOf(app).ID, Type: "web", Kind: platform.KindApp, Number: 1,
		PrivateAddr: netip.MustParseAddr("10.240.0.2")})
	if n := network(); n.Used != 1 {
		t.Errorf("a client sees the network as %+v", n)
	}
	var names struct {
		Names struct {
			Data []string
			Meta clientPages
		} `json:"domain_names"`
	}
	s.ask("GET", "/v1/apps/some-app/private_network_domain_names?page=1&per_page=20", "", 200).into(&names)
	for _, name := range names.Names.Data {
		if !strings.HasSuffix(name, ".") { // its type would be shown wrongly
			t.Errorf("%s has no final dot", name)
		}
	}

	s.ask("POST", "/v1/apps/some-app/run", `{"command":"bash"}`, 200)
	for _, path := range []string{"/v1/apps/some-app/events", "/v1/events"} {
		var events struct {
			Events []clientEvent
			Meta   struct{ Pagination clientPages }
		}
		s.ask("GET", path, "", 200).into(&events)
		for _, e := range events.Events {
			if err := json.Unmarshal(e.Data, clientEventData(e.Type)); err != nil {
				t.Errorf("a client cannot decode the data of %s, %s: %v", e.Type, e.Data, err)
			}
		}
		if len(events.Events) < 3 {
			t.Errorf("%s: a client sees %d events", path, len(events.Events))
		}
	}

	var regions struct {
		Regions []struct {
			Name, SSH, API, Dashboard string
			DisplayName               string `json:"display_name"`
			DatabaseAPI               string `json:"database_api"`
			Default                   bool
		}
	}
	s.ask("GET", "/v1/regions", "", 200).into(&regions)
	var stacks struct {
		Stacks []struct {
			ID, Name, Description string
			BaseImage             string `json:"base_image"`
			Default               bool
			CreatedAt             time.Time `json:"created_at"`
			DeprecatedAt          *string   `json:"deprecated_at"`
		}
	}
	s.ask("GET", "/v1/features/stacks", "", 200).into(&stacks)
	if len(regions.Regions) == 0 || len(stacks.Stacks) == 0 {
		t.Errorf("a client sees the regions %+v and the stacks %+v", regions, stacks)
	}
	var self struct {
		User *struct {
			clientUser
			Fullname string
			Flags    map[string]bool
		}
	}
	s.ask("GET", "/v1/users/self", "", 200).into(&self)
	var tokens struct{ Tokens []clientToken }
	s.ask("GET", "/v1/tokens", "", 200).into(&tokens)
	var made struct{ Token clientToken }
	s.send(call{method: "POST", path: "/v1/tokens", body: `{"token":{"name":"test"}}`, basic: []string{"ada", testPassword}}).into(&made)
	if self.User == nil || self.User.Username != "ada" || len(tokens.Tokens) == 0 || made.Token.Token == "" {
		t.Errorf("a client sees %+v, %+v and %+v", self.User, tokens, made)
	}
}
