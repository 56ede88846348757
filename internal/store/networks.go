package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// The events that tell how full a private network is. The last of a project
// is what was told so far.
const (
	EventNetworkNearlyFull = "network_nearly_full"
	EventNetworkHasRoom    = "network_has_room"
)

// NoteNetworkUse records that a network has that many members: an event when
// it became nearly full, and one when it has room again. It returns the type
// of the event that was added, "" for none, with the project. A network that
// is gone is no error.
func (s *Store) NoteNetworkUse(ctx context.Context, networkID string, members int) (event string, p platform.Project, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		p, err = scanProject(tx.QueryRowContext(ctx, selectProject+" WHERE n.id = ?", networkID))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot find the project of network %s: %w", networkID, err)
		}
		var told string
		err := tx.QueryRowContext(ctx, "SELECT type FROM events WHERE project_id = ? AND type IN (?, ?) ORDER BY seq DESC LIMIT 1",
			p.ID, EventNetworkNearlyFull, EventNetworkHasRoom).Scan(&told)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("cannot look for what was told of network %s: %w", networkID, err)
		}
		switch {
		case told != EventNetworkNearlyFull && platform.NearlyFull(members):
			event = EventNetworkNearlyFull
		case told == EventNetworkNearlyFull && platform.HasRoom(members):
			event = EventNetworkHasRoom
		default:
			return nil
		}
		return s.insertEvent(ctx, tx, projectEvent(event, platform.User{ID: p.OwnerID}, p,
			map[string]any{"network_id": networkID, "members": members, "capacity": platform.MaxMembers}))
	})
	if err != nil {
		event = ""
	}
	return event, p, err
}
