package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// FirstUser is whom Init creates.
type FirstUser struct {
	Username string
	Email    string
	// Password may be "": then the user logs in by token only.
	Password string
}

// Init creates the database with the first user and returns an API token of
// that user. CodeConflict when there is a user already.
func Init(ctx context.Context, cfg Config, u FirstUser) (string, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o711); err != nil {
		return "", fmt.Errorf("cannot create the data folder: %w", err)
	}
	st, err := openStore(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer st.Close()
	n, err := st.CountUsers(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot look for users: %w", err)
	}
	if n > 0 {
		return "", platform.Conflict("the platform in %s has a user already; log in with that user's token, or remove the folder to begin anew", cfg.DataDir)
	}
	hash := ""
	if u.Password != "" {
		if hash, err = auth.HashPassword(u.Password); err != nil {
			return "", err
		}
	}
	user, err := st.CreateUser(ctx, u.Username, u.Email, u.Username, hash)
	if err != nil {
		return "", err
	}
	_, secret, err := st.CreateToken(ctx, user.ID, "atoll init")
	return secret, err
}

// stackName is the one stack of this version.
const (
	stackName     = "atoll-12"
	stackRunRef   = "atoll.local/stack/atoll-12:run"
	stackBuildRef = "atoll.local/stack/atoll-12:build"
)

// openStore opens the database and makes sure that it knows the stack.
func openStore(ctx context.Context, cfg Config) (*store.Store, error) {
	st, err := store.Open(ctx, filepath.Join(cfg.DataDir, databaseName))
	if err != nil {
		return nil, err
	}
	if _, err := st.EnsureStack(ctx, store.Stack{Name: stackName, Description: "Debian 12", BaseImage: stackRunRef, Default: true}); err != nil {
		return nil, fmt.Errorf("cannot add the stack: %w", err)
	}
	return st, nil
}
