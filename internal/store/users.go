package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// CreateUser adds a user with a password hash (may be "": then only tokens
// let the user in) and the user's default project with its network (PJ-1).
func (s *Store) CreateUser(ctx context.Context, username, email, fullname, passwordHash string) (platform.User, error) {
	u := platform.User{ID: platform.NewUserID(), Username: username, Email: email, Fullname: fullname, CreatedAt: s.now()}
	if username == "" || email == "" {
		return u, platform.Invalid("username", "and email must both be given")
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO users (id, username, email, fullname, password_hash, created_at) VALUES (?,?,?,?,?,?)`,
			u.ID, u.Username, u.Email, u.Fullname, passwordHash, stamp(u.CreatedAt))
		if isUnique(err) {
			return platform.Conflict("a user %q or with the email %q exists already", username, email)
		}
		if err != nil {
			return fmt.Errorf("cannot add user %s: %w", username, err)
		}
		_, err = s.insertProject(ctx, tx, u, "default", true)
		return err
	})
	return u, err
}

const userColumns = `id, username, email, fullname, admin, created_at`

// UserByID finds a user.
func (s *Store) UserByID(ctx context.Context, id string) (platform.User, error) {
	return s.user(ctx, s.r, "SELECT "+userColumns+" FROM users WHERE id = ?", id)
}

// UserByLogin finds a user by username or email and returns the password
// hash beside it.
func (s *Store) UserByLogin(ctx context.Context, login string) (platform.User, string, error) {
	u, err := s.user(ctx, s.r, "SELECT "+userColumns+" FROM users WHERE username = ?1 OR email = ?1", login)
	if err != nil {
		return u, "", err
	}
	var hash string
	err = s.r.QueryRowContext(ctx, "SELECT password_hash FROM users WHERE id = ?", u.ID).Scan(&hash)
	return u, hash, err
}

// CountUsers tells whether the platform was initialised.
func (s *Store) CountUsers(ctx context.Context) (int, error) {
	var n int
	err := s.r.QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&n)
	return n, err
}

// Token is an API token; its secret is known at creation only.
type Token struct {
	ID         string
	UserID     string
	Name       string
	CreatedAt  time.Time
	LastUsedAt time.Time
}

// CreateToken makes an API token: "tk-us-" and 48 url-safe characters. Only
// a SHA-256 of it is kept: with 288 random bits nothing slower is needed.
func (s *Store) CreateToken(ctx context.Context, userID, name string) (Token, string, error) {
	raw := make([]byte, 36)
	rand.Read(raw) //nolint:errcheck // never fails since Go 1.24
	secret := "tk-us-" + base64.RawURLEncoding.EncodeToString(raw)
	t := Token{ID: platform.NewID(), UserID: userID, Name: name, CreatedAt: s.now()}
	hash := sha256.Sum256([]byte(secret))
	err := s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO tokens (id, user_id, name, hash, created_at) VALUES (?,?,?,?,?)",
			t.ID, t.UserID, t.Name, hash[:], stamp(t.CreatedAt)); err != nil {
			return fmt.Errorf("cannot add a token: %w", err)
		}
		return s.insertEvent(ctx, tx, platform.Event{Type: "new_token", UserID: userID,
			Data: map[string]any{"token_name": name, "token_id": t.ID}})
	})
	return t, secret, err
}

// UserByToken finds the user of an API token and notes its use.
// CodeUnauthorized when there is no such token.
func (s *Store) UserByToken(ctx context.Context, secret string) (platform.User, error) {
	hash := sha256.Sum256([]byte(secret))
	var userID string
	err := s.r.QueryRowContext(ctx, "SELECT user_id FROM tokens WHERE hash = ?", hash[:]).Scan(&userID)
	if errors.Is(err, sql.ErrNoRows) {
		return platform.User{}, &platform.Error{Code: platform.CodeUnauthorized, Message: "the API token is not known; log in again"}
	}
	if err != nil {
		return platform.User{}, fmt.Errorf("cannot look up a token: %w", err)
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE tokens SET last_used_at = ? WHERE hash = ?", stamp(s.now()), hash[:])
		return err
	})
	if err != nil {
		return platform.User{}, err
	}
	return s.UserByID(ctx, userID)
}

// Tokens lists a user's tokens, oldest first.
func (s *Store) Tokens(ctx context.Context, userID string) ([]Token, error) {
	return collect(ctx, s.r, func(r scanner) (t Token, err error) {
		var created, used int64
		err = r.Scan(&t.ID, &t.UserID, &t.Name, &created, &used)
		t.CreatedAt, t.LastUsedAt = unstamp(created), unstamp(used)
		return t, err
	}, "SELECT id, user_id, name, created_at, last_used_at FROM tokens WHERE user_id = ? ORDER BY created_at", userID)
}

// Secret returns the named secret of this installation, 32 random bytes made
// at the first call; the API signs its tokens with one.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	rand.Read(fresh) //nolint:errcheck // never fails since Go 1.24
	var text string
	err := s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)",
			"secret."+name, base64.StdEncoding.EncodeToString(fresh)); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT value FROM settings WHERE name = ?", "secret."+name).Scan(&text)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read secret %s: %w", name, err)
	}
	return base64.StdEncoding.DecodeString(text)
}

// Private

func (s *Store) user(ctx context.Context, q querier, query string, args ...any) (u platform.User, err error) {
	var created int64
	err = q.QueryRowContext(ctx, query, args...).Scan(&u.ID, &u.Username, &u.Email, &u.Fullname, &u.Admin, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return u, platform.NotFound("user", "no such user")
	}
	u.CreatedAt = unstamp(created)
	return u, err
}
