package api

import (
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// policyJSON is the policy of a project. Warning says what the network does not
// do of it, "" when it does all.
type policyJSON struct {
	Mode    platform.PolicyMode `json:"mode"`
	Rules   []ruleJSON          `json:"rules"`
	Warning string              `json:"warning"`
}

// ruleJSON is a rule, as text and in its parts; * is every one, and port 0.
type ruleJSON struct {
	ID        string     `json:"id"`
	Rule      string     `json:"rule"`
	From      partyJSON  `json:"from"`
	To        partyJSON  `json:"to"`
	Protocol  string     `json:"protocol"`
	Port      uint16     `json:"port"`
	CreatedAt *time.Time `json:"created_at"`
}

type partyJSON struct {
	AppID string `json:"app_id"`
	App   string `json:"app"`
	Type  string `json:"type"`
}

// refusalJSON is what no rule allows. Rule is the one that would allow it and
// nothing else; "" if there is none: the port is not known (see flowJSON), or
// rules have no name for the protocol.
type refusalJSON struct {
	Rule      string           `json:"rule"`
	From      partyJSON        `json:"from"`
	To        partyJSON        `json:"to"`
	Protocol  string           `json:"protocol"`
	Port      uint16           `json:"port"`
	PortKnown bool             `json:"port_known"`
	Verdict   platform.Verdict `json:"verdict"`
	Packets   uint64           `json:"packets"`
	LastSeen  *time.Time       `json:"last_seen"`
}

func showRule(r platform.Rule) ruleJSON {
	return ruleJSON{ID: r.ID, Rule: r.String(), From: showParty(r.From), To: showParty(r.To),
		Protocol: r.Service.Protocol.String(), Port: r.Service.Port, CreatedAt: date(r.CreatedAt)}
}

func (a *API) showPolicy(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	return q.okPolicy(project)
}

// setPolicyMode answers when new packets obey.
func (a *API) setPolicyMode(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	var in struct {
		Policy *struct {
			Mode string `json:"mode"`
		} `json:"policy"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Policy == nil {
		return nil, badRequest(`the body must be {"policy": {"mode": ...}}`)
	}
	mode, err := platform.ParsePolicyMode(in.Policy.Mode)
	if err != nil {
		return nil, err
	}
	if err := a.Policies.SetMode(q.Context(), q.user, project.ID, mode); err != nil {
		return nil, err
	}
	return q.okPolicy(project)
}

func (a *API) addRule(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	var in struct {
		Rule string `json:"rule"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	rule, err := platform.ParseRule(in.Rule)
	if err != nil {
		return nil, err
	}
	if rule, err = a.Policies.AddRule(q.Context(), q.user, project.ID, rule); err != nil {
		return nil, err
	}
	return created(object{"rule": showRule(rule)})
}

func (a *API) removeRule(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	if err := a.Policies.RemoveRule(q.Context(), q.user, project.ID, q.PathValue("rule")); err != nil {
		return nil, err
	}
	return noContent()
}

func (a *API) refusals(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	refused, err := a.Refusals.List(q.Context(), project)
	if err != nil {
		return nil, err
	}
	list := make([]refusalJSON, 0, len(refused))
	for _, r := range refused {
		list = append(list, refusalJSON{Rule: r.Rule(), From: showParty(r.From), To: showParty(r.To), Protocol: r.Service.Protocol.String(), Port: r.Service.Port,
			PortKnown: r.Service.Known(), Verdict: r.Verdict, Packets: r.Packets, LastSeen: date(r.LastSeen)})
	}
	return ok(object{"refusals": list})
}

// Private

// project finds the project named in the path, of the user who asks.
func (q *request) project() (platform.Project, error) {
	return q.api.Store.Project(q.Context(), q.user.ID, q.PathValue("id"))
}

func (q *request) okPolicy(project platform.Project) (response, error) {
	p, err := q.api.Policies.Policy(q.Context(), project.ID)
	if err != nil {
		return nil, err
	}
	shown := policyJSON{Mode: p.Mode, Rules: make([]ruleJSON, 0, len(p.Rules)), Warning: p.Warning()}
	for _, r := range p.Rules {
		shown.Rules = append(shown.Rules, showRule(r))
	}
	return ok(object{"policy": shown})
}

func showParty(p platform.Party) partyJSON {
	shown := partyJSON{AppID: p.AppID, App: p.App, Type: p.Type}
	if p.AppID == "" && p.App == "" {
		shown.App = "*"
	}
	if p.Type == "" {
		shown.Type = "*"
	}
	return shown
}
