package api

import (
	"time"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// sessionLife is how long a session's JWT is good; clients exchange again
// when less than five minutes are left of it.
const sessionLife = time.Hour

// tokenJSON is an API token. Token is its secret, at creation only.
type tokenJSON struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  *time.Time `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	Token      string     `json:"token,omitempty"`
}

func showToken(t store.Token, secret string) tokenJSON {
	return tokenJSON{ID: t.ID, Name: t.Name, CreatedAt: date(t.CreatedAt), LastUsedAt: date(t.LastUsedAt), Token: secret}
}

// userJSON is a user as others see it.
type userJSON struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Email    string `json:"email"`
}

func showUser(u platform.User) userJSON {
	return userJSON{ID: u.ID, Username: u.Username, Email: u.Email}
}

// selfJSON is a user as the user sees it. Flags is always empty: an "admin"
// flag would make clients ask for consent at most commands.
type selfJSON struct {
	userJSON
	Fullname string          `json:"fullname"`
	Flags    map[string]bool `json:"flags"`
}

// maxTokenName bounds the name of a token, in bytes.
const maxTokenName = 255

func (a *API) createToken(q *request) (response, error) {
	var in struct {
		Token struct {
			Name string `json:"name"`
		} `json:"token"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	switch name := in.Token.Name; {
	case name == "":
		return nil, platform.Invalid("name", "must say what the token is for")
	case len(name) > maxTokenName:
		return nil, platform.Invalid("name", "has %d bytes, at most %d are allowed", len(name), maxTokenName)
	}
	t, secret, err := a.Store.CreateToken(q.Context(), q.user.ID, in.Token.Name)
	if err != nil {
		return nil, err
	}
	return created(object{"token": showToken(t, secret)})
}

func (a *API) listTokens(q *request) (response, error) {
	tokens, err := a.Store.Tokens(q.Context(), q.user.ID)
	if err != nil {
		return nil, err
	}
	list := make([]tokenJSON, 0, len(tokens))
	for _, t := range tokens {
		list = append(list, showToken(t, ""))
	}
	return ok(object{"tokens": list})
}

// exchangeToken turns an API token into a session. A session lives on for up
// to sessionLife after its API token is gone.
func (a *API) exchangeToken(q *request) (response, error) {
	token, err := a.tokens.Sign(auth.Session, q.user.ID, "", sessionLife)
	if err != nil {
		return nil, err
	}
	return ok(object{"token": token})
}

func (a *API) self(q *request) (response, error) {
	return ok(object{"user": selfJSON{userJSON: showUser(q.user), Fullname: q.user.Fullname, Flags: map[string]bool{}}})
}
