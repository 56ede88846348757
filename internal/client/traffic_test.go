package client_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/client/apitest"
)

func TestPolicyOfAProject(t *testing.T) {
	s := apitest.New(t)
	c := newClient(t, s)
	projects, err := c.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := projects[0].ID
	if p, err := c.SetPolicyMode(t.Context(), id, "deny"); err != nil || p.Mode != "deny" || p.Rules == nil {
		t.Fatalf("%+v, %v", p, err)
	}
	r, err := c.AddRule(t.Context(), id, "shop-web:web -> catalog:api 3000")
	if err != nil || r.Rule != "shop-web:web -> catalog:api 3000/tcp" || r.To.Type != "api" || r.Port != 3000 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := c.AddRule(t.Context(), id, "shop-web:web -> catalog:api 3000"); client.StatusOf(err) != http.StatusConflict {
		t.Errorf("the same again: %v", err)
	}
	if p, err := c.Policy(t.Context(), id); err != nil || len(p.Rules) != 1 || p.Rules[0] != r {
		t.Errorf("%+v, %v", p, err)
	}
	if err := c.RemoveRule(t.Context(), id, r.ID); err != nil {
		t.Error(err)
	}
	if err := c.RemoveRule(t.Context(), id, r.ID); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := c.Policy(t.Context(), "prj-none"); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("a project that is not there: %v", err)
	}
}

func TestFollowFlowsOutlivesAnInterruption(t *testing.T) {
	s := apitest.New(t)
	c := newClient(t, s)
	projects, err := c.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	flows, notices := make(chan client.Flow, 10), 0
	ended := make(chan error, 1)
	go func() {
		ended <- c.FollowFlows(ctx, projects[0].ID, func(f client.Flow) { flows <- f }, func(string) { notices++ })
	}()
	web, api := apitest.Member("shop-web", "web", "1"), apitest.Member("catalog", "api", "2")
	for port := range 3 {
		s.AwaitFlowStream()
		s.AddFlow(web, api, "tcp", 3000+port, 1, "allowed")
		if f := <-flows; f.Port != 3000+port || f.From.Name != "shop-web/web/1" || f.To.Number != 2 || f.ReplyBytes != 1000 {
			t.Errorf("flow is %+v", f)
		}
		s.RevokeJWTs() // a restart with another key
		s.DropStreams()
	}
	s.AwaitFlowStream()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || notices != 3 {
		t.Errorf("ended with %v after %d notices", err, notices)
	}
	if list, err := c.Flows(t.Context(), projects[0].ID); err != nil || len(list) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := c.Drops(t.Context(), projects[0].ID); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestFollowFlowsSaysAtOnceWhatIsWrong(t *testing.T) {
	s := apitest.New(t)
	c := newClient(t, s)
	s.Override("GET /v1/atoll/projects/prj-1/flows", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = w.Write([]byte(`{"resource":"project","error":"no such project"}`))
	})
	if err := c.FollowFlows(t.Context(), "prj-1", nil, nil); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("error is %v", err)
	}
	s.Override("GET /v1/atoll/projects/prj-1/flows", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	if err := c.FollowFlows(t.Context(), "prj-1", nil, nil); client.StatusOf(err) != http.StatusInternalServerError {
		t.Errorf("error is %v", err)
	}
}
