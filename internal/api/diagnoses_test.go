package api

import (
	"context"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/diagnosis"
	"github.com/atollhq/atoll/internal/platform"
)

// fakeDiagnoser says what it was asked.
type fakeDiagnoser struct{ asked diagnosis.Question }

func (f *fakeDiagnoser) Diagnose(_ context.Context, q diagnosis.Question) (diagnosis.Report, error) {
	f.asked = q
	if q.To == "" {
		return diagnosis.Report{}, platform.Invalid("to", "must be a name or an address")
	}
	return diagnosis.Report{From: q.App.Name + "/web-1", To: q.To, Service: "3000/tcp", Sentence: "does not work.",
		Steps: []diagnosis.Step{{Name: "try", Outcome: diagnosis.Failed, Text: "refused"}}}, nil
}

func TestDiagnose(t *testing.T) {
	f := &fakeDiagnoser{}
	s := newServer(t, func(c *Config) { c.Diagnoser = f })
	app, other := s.createApp("some-app"), s.createApp("other-app")
	a := s.ask("POST", "/v1/atoll/apps/some-app/diagnoses", `{"diagnosis":{"container":"web-1","to":"api.other-app.internal","port":3000}}`, 200)
	a.want("some-app/web-1", "diagnosis", "from")
	a.want(false, "diagnosis", "works")
	a.want("does not work.", "diagnosis", "sentence")
	a.want("failed", "diagnosis", "steps", 0, "outcome")
	if f.asked.App.ID != app.ID || !f.asked.Visible[other.ID] || f.asked.Protocol != "tcp" || f.asked.Port != 3000 || f.asked.Container != "web-1" {
		t.Errorf("asked: %+v", f.asked)
	}
	s.ask("POST", "/v1/atoll/apps/some-app/diagnoses", `{"diagnosis":{"to":""}}`, 422).at("errors", "to")
	s.ask("POST", "/v1/atoll/apps/some-app/diagnoses", `{"diagnosis":{"port":70000}}`, 400)
	s.ask("POST", "/v1/atoll/apps/nobody/diagnoses", `{}`, 404)
	if a := s.send(call{method: "POST", path: "/v1/atoll/apps/some-app/diagnoses", body: "{}", bearer: s.bobJWT}); a.status != 404 || strings.Contains(a.text, "diagnosis") {
		t.Errorf("another user gets %d %s", a.status, a.text)
	}
}
