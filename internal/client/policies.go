package client

import (
	"context"
	"time"
)

// Policy says who may reach whom inside the private network of a project.
type Policy struct {
	// Mode is open, dry-run or deny.
	Mode  string `json:"mode"`
	Rules []Rule `json:"rules"`
	// Warning says what the network does not do of it, "" when it does all.
	Warning string `json:"warning"`
}

// Rule is a rule of a policy.
type Rule struct {
	ID string `json:"id"`
	// Rule is the whole of it, as people write it.
	Rule      string    `json:"rule"`
	From      Party     `json:"from"`
	To        Party     `json:"to"`
	Protocol  string    `json:"protocol"`
	Port      int       `json:"port"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// Party is an end of a rule; * means every one.
type Party struct {
	AppID string `json:"app_id"`
	App   string `json:"app"`
	Type  string `json:"type"`
}

// Refusal is what no rule of a policy allows: all connections of one process
// type to one port of another.
type Refusal struct {
	// Rule would allow it and nothing else; it is "" if no rule can.
	Rule     string `json:"rule"`
	From     Party  `json:"from"`
	To       Party  `json:"to"`
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
	// PortKnown is as in Flow.
	PortKnown bool `json:"port_known"`
	// Verdict is denied or would-deny.
	Verdict string `json:"verdict"`
	// Packets are those of both directions.
	Packets  uint64    `json:"packets"`
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// Refusals lists what the policy of a project as it is now refuses, or would
// in mode deny, and was seen in the last weeks; the latest first.
func (c *Client) Refusals(ctx context.Context, projectID string) ([]Refusal, error) {
	var answer struct {
		Refusals []Refusal `json:"refusals"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/atoll/projects/" + segment(projectID) + "/refusals", want: []int{200}, doing: "cannot list what the policy refuses"}, &answer)
	return answer.Refusals, err
}

// Policy returns the policy of a project by the project's id.
func (c *Client) Policy(ctx context.Context, projectID string) (Policy, error) {
	return c.policy(ctx, request{method: "GET", path: policyPath(projectID), want: []int{200}, doing: "cannot show the policy"})
}

// SetPolicyMode changes the mode of a policy. When it returns without error,
// new packets obey.
func (c *Client) SetPolicyMode(ctx context.Context, projectID, mode string) (Policy, error) {
	body := map[string]any{"policy": map[string]string{"mode": mode}}
	return c.policy(ctx, request{method: "PUT", path: policyPath(projectID), body: body, want: []int{200}, doing: "cannot change the policy"})
}

// AddRule adds a rule, as people write it, to a policy. A rule that is there
// already has status 409.
func (c *Client) AddRule(ctx context.Context, projectID, rule string) (Rule, error) {
	var answer struct {
		Rule Rule `json:"rule"`
	}
	_, err := c.do(ctx, request{method: "POST", path: policyPath(projectID) + "/rules", body: map[string]string{"rule": rule}, want: []int{201}, doing: "cannot add the rule"}, &answer)
	return answer.Rule, err
}

// RemoveRule removes a rule by its id.
func (c *Client) RemoveRule(ctx context.Context, projectID, ruleID string) error {
	_, err := c.do(ctx, request{method: "DELETE", path: policyPath(projectID) + "/rules/" + segment(ruleID), want: []int{204}, doing: "cannot remove the rule"}, nil)
	return err
}

func (c *Client) policy(ctx context.Context, r request) (Policy, error) {
	var answer struct {
		Policy Policy `json:"policy"`
	}
	_, err := c.do(ctx, r, &answer)
	return answer.Policy, err
}

func policyPath(projectID string) string { return "/atoll/projects/" + segment(projectID) + "/policy" }
