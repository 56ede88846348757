package api

import (
	"errors"
	"strings"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
)

// access lets a request pass, and notes whose it is, or refuses it.
type access func(q *request) error

// anyone: no credentials needed.
func anyone(*request) error { return nil }

// firstFrame: credentials come in the first frame of the web socket; the
// handler checks them.
func firstFrame(*request) error { return nil }

// bearer: a session's JWT.
func bearer(q *request) error {
	scheme, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return unauthorized("log in first: this needs an Authorization header with a Bearer token")
	}
	return q.session(token)
}

// password: a user's name or email with the password, or a session (which
// login by SSH key hands out).
func password(q *request) error {
	login, secret, isBasic := q.BasicAuth()
	if !isBasic {
		return bearer(q)
	}
	if len(login) > 320 { // longer than any email address
		login = ""
	}
	account := strings.ToLower(login)
	return q.guarded(account, func() error {
		u, hash, err := q.api.Store.UserByLogin(q.Context(), login)
		if err != nil && platform.CodeOf(err) != platform.CodeNotFound {
			return err
		}
		if !auth.CheckPassword(hash, secret) {
			return unauthorized("wrong user name or password")
		}
		q.user = u
		return nil
	})
}

// apiToken: an API token as the password of nobody.
func apiToken(q *request) error {
	login, token, isBasic := q.BasicAuth()
	if !isBasic || login != "" || token == "" {
		return unauthorized("this needs HTTP Basic authentication with an empty user and an API token as the password")
	}
	return q.guarded("", func() (err error) {
		q.user, err = q.api.Store.UserByToken(q.Context(), token)
		return err
	})
}

// attached: a session's JWT as the password of nobody. It is what a client of
// an attached one-off sends.
func attached(q *request) error {
	login, token, isBasic := q.BasicAuth()
	if !isBasic {
		return bearer(q)
	}
	if login != "" || token == "" {
		return unauthorized("this needs HTTP Basic authentication with an empty user and a session's token as the password")
	}
	return q.session(token)
}

// link: a token in the query, signed for the {id} in the path.
func link(a auth.Audience) access {
	return func(q *request) error {
		userID, object, err := q.api.tokens.Verify(a, q.URL.Query().Get("token"))
		if errors.Is(err, auth.ErrExpired) {
			return unauthorized("this link has expired; ask for a new one")
		}
		if err != nil || object != q.PathValue("id") {
			return unauthorized("this link is not valid; ask for a new one")
		}
		q.user = platform.User{ID: userID}
		return nil
	}
}

// session notes the user of a session's token.
func (q *request) session(token string) error {
	userID, _, err := q.api.tokens.Verify(auth.Session, token)
	if errors.Is(err, auth.ErrExpired) {
		return unauthorized("the session has expired; exchange the API token again")
	}
	if err != nil {
		return unauthorized("the session token is not valid; log in again")
	}
	q.user, err = q.api.Store.UserByID(q.Context(), userID)
	if platform.CodeOf(err) == platform.CodeNotFound {
		return unauthorized("the user of this session is gone; log in again")
	}
	return err
}

// Private

// guarded runs a check of credentials behind the brake.
func (q *request) guarded(account string, check func() error) error {
	if allowed, wait := q.api.brake.Allow(q.address(), account); !allowed {
		return &tooMany{wait: wait}
	}
	err := check()
	if platform.CodeOf(err) == platform.CodeUnauthorized {
		q.api.brake.Failed(q.address(), account)
		q.api.Log.Warn("Login failed", "account", account, "address", q.address())
	}
	return err
}
