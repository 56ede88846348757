package api

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
)

func freshBrake() *auth.Brake { return auth.NewBrake(time.Now) }

func TestLoginWithPasswordMakesAnAPIToken(t *testing.T) {
	s := newServer(t)
	for _, login := range []string{"ada", "ada@example.test"} {
		a := s.send(call{method: "POST", path: "/v1/tokens", body: `{"token":{"name":"Scalingo CLI - laptop"}}`, basic: []string{login, testPassword}})
		if a.status != 201 {
			t.Fatalf("login as %s answered %d %s", login, a.status, a.text)
		}
		secret := a.at("token", "token").(string)
		if !regexp.MustCompile(`^tk-us-[A-Za-z0-9_-]{48}$`).MatchString(secret) {
			t.Errorf("token is %q", secret)
		}
		if _, isString := a.at("token", "id").(string); !isString {
			t.Errorf("id is no string: %s", a.text)
		}
		a.wantDate("token", "created_at")
		a.want(nil, "token", "last_used_at")
		if a := s.send(call{method: "POST", path: "/v1/tokens/exchange", body: "{}", basic: []string{"", secret}}); a.status != 200 {
			t.Errorf("exchange of the new token answered %d", a.status)
		}
	}
}

func TestLoginBySessionMakesAnAPIToken(t *testing.T) {
	s := newServer(t)
	s.ask("POST", "/v1/tokens", `{"token":{"name":"from SSH"}}`, 201).at("token", "token")
}

func TestWrongCredentials(t *testing.T) {
	s := newServer(t)
	for name, basic := range map[string][]string{
		"wrong password": {"ada", "nonsense"}, "nobody": {"eve", testPassword}, "no password set": {"bob", ""}, "empty": {"", ""},
		"huge name": {strings.Repeat("a", 5000), "x"},
	} {
		a := s.send(call{method: "POST", path: "/v1/tokens", body: `{"token":{"name":"x"}}`, basic: basic})
		if a.status != 401 || a.at("error") == "OTP Required" {
			t.Errorf("%s answered %d %s", name, a.status, a.text)
		}
	}
	// The user name must be empty in an exchange.
	if a := s.send(call{method: "POST", path: "/v1/tokens/exchange", basic: []string{"ada", s.adaToken}}); a.status != 401 {
		t.Errorf("exchange with a user name answered %d", a.status)
	}
}

func TestTheJWTIsWhatClientsNeed(t *testing.T) {
	s := newServer(t)
	parts := strings.Split(s.adaJWT, ".")
	if len(parts) != 3 {
		t.Fatalf("JWT has %d parts", len(parts))
	}
	var header struct{ Alg string }
	var claims struct{ Exp, Iat float64 }
	for i, v := range []any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatal(err)
		}
	}
	if header.Alg != "HS256" {
		t.Errorf("alg is %q", header.Alg)
	}
	if life := claims.Exp - claims.Iat; life != 3600 {
		t.Errorf("it lives %v s, want an hour", life)
	}
}

func TestAnExpiredSessionIs401(t *testing.T) {
	now := time.Now()
	s := newServer(t, func(c *Config) { c.Now = func() time.Time { return now } })
	s.ask("GET", "/v1/apps", "", 200)
	now = now.Add(61 * time.Minute)
	if a := s.ask("GET", "/v1/apps", "", 401); !strings.Contains(a.at("error").(string), "expired") {
		t.Errorf("answer is %s", a.text)
	}
}

func TestTheSecretOutlivesTheServer(t *testing.T) {
	s := newServer(t)
	again, err := New(t.Context(), s.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := again.tokens.Verify(auth.Session, s.adaJWT); err != nil {
		t.Errorf("a session of the last process is refused: %v", err)
	}
}

func TestSelf(t *testing.T) {
	s := newServer(t)
	a := s.ask("GET", "/v1/users/self", "", 200)
	a.want(s.ada.ID, "user", "id")
	a.want("ada", "user", "username")
	a.want("Ada L.", "user", "fullname")
	a.want("ada@example.test", "user", "email")
	if flags := a.at("user", "flags").(map[string]any); len(flags) != 0 {
		t.Errorf("flags are %v; an admin flag makes clients ask for consent", flags)
	}
}

func TestTokensAreListedWithoutTheirSecrets(t *testing.T) {
	s := newServer(t)
	a := s.ask("GET", "/v1/tokens", "", 200)
	a.want("test", "tokens", 0, "name")
	a.wantDate("tokens", 0, "last_used_at")
	if strings.Contains(a.text, "tk-us-") {
		t.Errorf("a secret is in %s", a.text)
	}
	s.ask("POST", "/v1/tokens", `{"token":{}}`, 422).at("errors", "name", 0)
}

func TestFailedLoginsAreSlowedDown(t *testing.T) {
	now := time.Now()
	s := newServer(t, func(c *Config) { c.Now = func() time.Time { return now } })
	try := func(secret string) reply {
		return s.send(call{method: "POST", path: "/v1/tokens/exchange", basic: []string{"", secret}})
	}
	for range 10 {
		if a := try("tk-us-guess"); a.status != 401 {
			t.Fatalf("a guess answered %d", a.status)
		}
	}
	a := try(s.adaToken)
	if a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Fatalf("after ten failures the next answered %d %s, want 429", a.status, a.text)
	}
	a.at("error")
	now = now.Add(11 * time.Second)
	if a := try(s.adaToken); a.status != 200 {
		t.Errorf("later a good token answered %d %s", a.status, a.text)
	}
}

func TestASessionOfAUserWhoIsGoneIs401(t *testing.T) {
	s := newServer(t)
	token, err := s.api.tokens.Sign(auth.Session, platform.NewUserID(), "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.send(call{method: "GET", path: "/v1/apps", bearer: token}); a.status != 401 {
		t.Errorf("answered %d", a.status)
	}
}
