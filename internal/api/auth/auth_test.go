package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func signer(t *testing.T, now func() time.Time) *Signer {
	t.Helper()
	s, err := NewSigner([]byte(strings.Repeat("k", 32)), now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestATokenIsForOneAudience(t *testing.T) {
	now := time.Now()
	s := signer(t, func() time.Time { return now })
	token, err := s.Sign(Upload, "us-1", "source-1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	user, object, err := s.Verify(Upload, token)
	if err != nil || user != "us-1" || object != "source-1" {
		t.Fatalf("verified as %q %q: %v", user, object, err)
	}
	for _, a := range []Audience{Session, Download, Logs} {
		if _, _, err := s.Verify(a, token); err == nil {
			t.Errorf("it is accepted for %s", a)
		}
	}
	now = now.Add(2 * time.Minute)
	if _, _, err := s.Verify(Upload, token); !errors.Is(err, ErrExpired) {
		t.Errorf("later the error is %v", err)
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	s := signer(t, time.Now)
	good := jwt.RegisteredClaims{Issuer: issuer, Audience: jwt.ClaimStrings{"session"}, Subject: "us-1", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}
	other, endless, expired := good, good, good
	other.Issuer = "somebody"
	endless.ExpiresAt = nil
	expired.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Hour))
	sign := func(m jwt.SigningMethod, c jwt.Claims, key any) string {
		text, err := jwt.NewWithClaims(m, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	valid := sign(jwt.SigningMethodHS256, good, s.secret)
	if _, _, err := s.Verify(Session, valid); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"no signature":            sign(jwt.SigningMethodNone, good, jwt.UnsafeAllowNoneSignatureType),
		"another algorithm":       sign(jwt.SigningMethodHS512, good, s.secret),
		"another key":             sign(jwt.SigningMethodHS256, good, []byte(strings.Repeat("x", 32))),
		"another key and expired": sign(jwt.SigningMethodHS256, expired, []byte(strings.Repeat("x", 32))),
		"another issuer":          sign(jwt.SigningMethodHS256, other, s.secret),
		"no expiry":               sign(jwt.SigningMethodHS256, endless, s.secret),
		"a changed signature":     valid[:len(valid)-2] + "AA",
		"nothing":                 "",
	} {
		if _, _, err := s.Verify(Session, token); err == nil || errors.Is(err, ErrExpired) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := NewSigner([]byte("short"), time.Now); err == nil {
		t.Error("a short secret is accepted")
	}
}

func TestPasswords(t *testing.T) {
	hash, err := HashPassword("a good password")
	if err != nil {
		t.Fatal(err)
	}
	again, err := HashPassword("a good password")
	if err != nil {
		t.Fatal(err)
	}
	if hash == again {
		t.Error("the same hash twice: no salt")
	}
	if !CheckPassword(hash, "a good password") || CheckPassword(hash, "a bad password") || CheckPassword(hash, "") {
		t.Error("the check is wrong")
	}
	if CheckPassword("", "") || CheckPassword("", "nobody has this password") {
		t.Error("an empty hash matches")
	}
	for _, bad := range []string{"short", strings.Repeat("x", MaxPassword+1)} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("a password of %d bytes is accepted", len(bad))
		}
	}
}

func FuzzPasswordHash(f *testing.F) {
	f.Add(nobody)
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$AAAA$AAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, stored string) {
		p, err := parse(stored)
		if err == nil && (p.memory > 1<<20 || p.passes > 16 || p.lanes > 16 || len(p.key) > 128) {
			t.Errorf("costs out of bounds: %+v", p)
		}
	})
}

func TestTheBrake(t *testing.T) {
	now := time.Now()
	b := NewBrake(func() time.Time { return now })
	for range addressBurst {
		if allowed, _ := b.Allow("10.0.0.1", "ada"); !allowed {
			t.Fatal("it brakes too early")
		}
		b.Failed("10.0.0.1", "ada")
	}
	allowed, wait := b.Allow("10.0.0.1", "ada")
	if allowed || wait <= 0 || wait > addressRefill {
		t.Fatalf("after the burst: %v, wait %s", allowed, wait)
	}
	if allowed, _ := b.Allow("10.0.0.2", "ada"); !allowed {
		t.Error("ada cannot log in from elsewhere")
	}
	for i := range accountBurst {
		b.Failed("10.1.0."+string(rune('a'+i)), "ada")
	}
	if allowed, _ := b.Allow("10.0.0.2", "ada"); allowed {
		t.Error("one account can be guessed at without end from many addresses")
	}
	now = now.Add(accountRefill + addressRefill*addressBurst)
	if allowed, _ := b.Allow("10.0.0.1", "ada"); !allowed {
		t.Error("nothing is forgiven")
	}
	for i := range maxKeys + 10 {
		b.Failed(string(rune(i)), "")
	}
	if len(b.buckets) > maxKeys {
		t.Errorf("%d keys are kept", len(b.buckets))
	}
}
