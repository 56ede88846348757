package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// renewBefore is how much of a JWT's life must be left for it to be used.
const renewBefore = 5 * time.Minute

// bearer returns a JWT that is good for a request now. stale is a JWT that
// the server just refused ("" at first): it is not returned again.
func (c *Client) bearer(ctx context.Context, stale string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jwt != "" && c.jwt != stale && time.Now().Before(c.renewAt) {
		return c.jwt, nil
	}
	if c.cfg.Token == "" {
		return "", &Error{Status: http.StatusUnauthorized, Message: "there is no API token"}
	}
	var answer struct {
		Token string `json:"token"`
	}
	r := request{method: "POST", path: "/tokens/exchange", body: struct{}{}, want: []int{200}}
	if _, err := c.send(ctx, r, basic("", c.cfg.Token), &answer); err != nil {
		if StatusOf(err) == http.StatusUnauthorized {
			return "", &Error{Status: http.StatusUnauthorized, Message: fmt.Sprintf("the server at %s does not accept the API token", c.base)}
		}
		return "", err
	}
	life, err := lifetime(answer.Token, time.Now())
	if err != nil {
		return "", fmt.Errorf("the server at %s sent an unusable token: %w", c.base, err)
	}
	c.jwt, c.renewAt = answer.Token, time.Now().Add(life-renewBefore)
	return c.jwt, nil
}

// lifetime returns how long a JWT is valid from now on. Where the token says
// when it was issued, the difference counts, so that a wrong clock on this
// machine does no harm. The signature is the server's business.
func lifetime(jwt string, now time.Time) (time.Duration, error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return 0, errors.New("it is not made of three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return 0, errors.New("its claims are not base64")
	}
	var claims struct {
		Expires *float64 `json:"exp"`
		Issued  *float64 `json:"iat"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return 0, errors.New("its claims are not JSON")
	}
	if claims.Expires == nil {
		return 0, errors.New("it has no exp claim")
	}
	from := float64(now.Unix())
	if claims.Issued != nil {
		from = *claims.Issued
	}
	// The bound keeps an absurd exp from overflowing the duration.
	seconds := min(max(*claims.Expires-from, 0), 24*60*60)
	return time.Duration(seconds * float64(time.Second)), nil
}

// Token is an API token. Secret is present in the answer of CreateToken only.
type Token struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"created_at,omitzero"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
	Secret     string    `json:"token,omitempty"`
}

// CreateToken makes an API token with a user's name and password.
func (c *Client) CreateToken(ctx context.Context, user, password, name string) (Token, error) {
	var answer struct {
		Token Token `json:"token"`
	}
	body := map[string]any{"token": map[string]string{"name": name}}
	r := request{method: "POST", path: "/tokens", body: body, want: []int{201}}
	if _, err := c.send(ctx, r, basic(user, password), &answer); err != nil {
		if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusUnauthorized && e.Message == "" {
			e.Message = "the user name or the password is wrong"
		}
		return Token{}, fmt.Errorf("cannot log in: %w", err)
	}
	if answer.Token.Secret == "" {
		return Token{}, fmt.Errorf("cannot log in: the server at %s answered without a token", c.base)
	}
	return answer.Token, nil
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
