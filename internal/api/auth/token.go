package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience is what a token is good for.
type Audience string

// The audiences.
const (
	// Session tokens are the Bearer of a user's requests.
	Session Audience = "session"
	// Upload and Download tokens are in the URLs of one source archive.
	Upload   Audience = "upload"
	Download Audience = "download"
	// Logs tokens are in the URL of one app's logs.
	Logs Audience = "logs"
)

const issuer = "atoll"

// ErrExpired: the token was good once.
var ErrExpired = errors.New("the token has expired")

// Signer makes and checks signed tokens: JWTs (RFC 7519) signed with HS256.
type Signer struct {
	secret []byte
	now    func() time.Time
	parser *jwt.Parser
}

// NewSigner returns a Signer for a secret of at least 32 bytes that is the
// same after each start. now is the clock.
func NewSigner(secret []byte, now func() time.Time) (*Signer, error) {
	if len(secret) < 32 {
		return nil, fmt.Errorf("cannot sign tokens with a secret of %d bytes: 32 are needed", len(secret))
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(now))
	return &Signer{secret: secret, now: now, parser: parser}, nil
}

// Sign returns a token for a user, good for the audience and, except for
// sessions, for one object (a source's or an app's id).
func (s *Signer) Sign(a Audience, userID, object string, life time.Duration) (string, error) {
	now := s.now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{string(a)}, Subject: userID, ID: object,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}).SignedString(s.secret)
	if err != nil {
		return "", fmt.Errorf("cannot sign a token: %w", err)
	}
	return token, nil
}

// Verify returns what a token of the audience was signed for. ErrExpired
// when it was good once; any other error means that it never was.
func (s *Signer) Verify(a Audience, token string) (userID, object string, err error) {
	var c jwt.RegisteredClaims
	_, err = s.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.secret, nil })
	if errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		return "", "", ErrExpired
	}
	if err != nil {
		return "", "", fmt.Errorf("the token is not valid: %w", err)
	}
	if len(c.Audience) != 1 || c.Audience[0] != string(a) {
		return "", "", fmt.Errorf("the token is not one for %s", a)
	}
	return c.Subject, c.ID, nil
}
