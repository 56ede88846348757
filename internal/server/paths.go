package server

import (
	"context"
	"net/netip"

	"github.com/atollhq/atoll/internal/diagnosis"
	"github.com/atollhq/atoll/internal/platform"
)

// pathPolicies and pathDrops are what a diagnosis asks about policies and
// drops.
type pathPolicies struct {
	policies interface {
		Policy(ctx context.Context, projectID string) (platform.Policy, error)
	}
}

// Decide says whether a connection passes.
func (p pathPolicies) Decide(ctx context.Context, from, to platform.Instance, protocol string, port uint16) (passes bool, rule, warning string, err error) {
	policy, err := p.policies.Policy(ctx, from.ProjectID)
	if err != nil {
		return false, "", "", err
	}
	service := platform.Service{Protocol: platform.TCP, Port: port}
	if protocol == "udp" {
		service.Protocol = platform.UDP
	}
	verdict, by := policy.Decide(party(from), party(to), service)
	if by != nil && policy.Mode != platform.PolicyOpen {
		rule = by.String()
	}
	return verdict != platform.Denied, rule, policy.Warning(), nil
}

func party(i platform.Instance) platform.Party {
	return platform.Party{AppID: i.AppID, App: i.AppName, Type: i.Type}
}

type pathDrops struct {
	traffic interface {
		Drops(ctx context.Context, network platform.PrivateNetwork) ([]platform.Drop, error)
	}
	projects interface {
		ProjectByID(ctx context.Context, id string) (platform.Project, error)
	}
}

// Between counts by reason.
func (p pathDrops) Between(ctx context.Context, projectID string, from, to netip.Addr) (map[string]uint64, error) {
	project, err := p.projects.ProjectByID(ctx, projectID)
	if err != nil {
		return nil, err
	}
	drops, err := p.traffic.Drops(ctx, project.Network)
	if err != nil {
		return nil, err
	}
	counts := map[string]uint64{}
	for _, d := range drops {
		if d.From.Addr == from && d.To.Addr == to {
			counts[d.Reason] += d.Count
		}
	}
	return counts, nil
}

var (
	_ diagnosis.Policies = pathPolicies{}
	_ diagnosis.Drops    = pathDrops{}
)
