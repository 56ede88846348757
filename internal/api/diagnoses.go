package api

import (
	"context"

	"github.com/atollhq/atoll/internal/diagnosis"
)

// Diagnoser finds out why a container does not reach something.
type Diagnoser interface {
	// Diagnose answers a question about an app of the user who asks. Its
	// errors are *platform.Error when the question is wrong.
	Diagnose(ctx context.Context, q diagnosis.Question) (diagnosis.Report, error)
}

// diagnosisJSON is a report; the root key is "diagnosis".
type diagnosisJSON struct {
	From     string     `json:"from"`
	To       string     `json:"to"`
	Service  string     `json:"service"`
	Works    bool       `json:"works"`
	Sentence string     `json:"sentence"`
	Steps    []stepJSON `json:"steps"`
}

type stepJSON struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

// diagnose answers {"diagnosis": {"container", "to", "port", "protocol"}}. It
// is a POST because it acts: it connects from inside the container.
func (a *API) diagnose(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	body := struct {
		Diagnosis struct {
			Container string `json:"container"`
			To        string `json:"to"`
			Port      uint16 `json:"port"`
			Protocol  string `json:"protocol"`
		} `json:"diagnosis"`
	}{}
	body.Diagnosis.Protocol = "tcp"
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	apps, err := a.Store.Apps(q.Context(), q.user.ID)
	if err != nil {
		return nil, err
	}
	question := diagnosis.Question{App: app, Visible: map[string]bool{}, Container: body.Diagnosis.Container,
		To: body.Diagnosis.To, Port: body.Diagnosis.Port, Protocol: body.Diagnosis.Protocol}
	for _, visible := range apps {
		question.Visible[visible.ID] = true
	}
	report, err := a.Diagnoser.Diagnose(q.Context(), question)
	if err != nil {
		return nil, err
	}
	shown := diagnosisJSON{From: report.From, To: report.To, Service: report.Service, Works: report.Works, Sentence: report.Sentence, Steps: []stepJSON{}}
	for _, s := range report.Steps {
		shown.Steps = append(shown.Steps, stepJSON{s.Name, string(s.Outcome), s.Text})
	}
	return ok(object{"diagnosis": shown})
}
