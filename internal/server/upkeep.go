package server

import (
	"context"

	"github.com/atollhq/atoll/internal/upkeep"
)

// refusedEvent is the event that a removal was refused.
const refusedEvent = "network_repair_refused"

// AcceptRemoval lets the server with this configuration, now or at its next
// start, remove what it refuses to.
func AcceptRemoval(cfg Config) error { return upkeep.Consent(cfg.RunDir) }

// openUpkeep prepares the looks at the networks; serve begins them.
func (s *machine) openUpkeep() error {
	every, err := s.cfg.repairEvery()
	if err != nil {
		return err
	}
	s.upkeep = upkeep.New(upkeep.Config{
		Networks: s.node.sandboxes, Containers: s.engine.Containers, Obstacles: s.node.outside.Obstacles,
		Workloads: s.reconciler.RemoveUnwanted, Refused: s.noteRefusal,
		Accepted: s.accepted, Every: every, RunDir: s.cfg.RunDir, Log: s.log,
	})
	return nil
}

// noteRefusal tells the users concerned.
func (s *machine) noteRefusal(ctx context.Context, state upkeep.State) error {
	var networks []string
	for _, r := range state.Report.Refused {
		if r.NetworkID != "" {
			networks = append(networks, r.NetworkID)
		}
	}
	return s.store.AddNetworkEvent(ctx, refusedEvent, networks, map[string]any{
		"networks": state.Report.Refused, "workloads": state.Workloads, "proceed": "atoll server --accept-removal",
	})
}
