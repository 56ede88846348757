package apitest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Epoch is the time at which everything in the server was created.
var Epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func owner() Object {
	return Object{"id": "us-1", "username": User, "email": "jane@example.com", "fullname": "Jane Doe", "flags": Object{}}
}

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	s.read(r, &struct{}{})
	user, password, ok := r.BasicAuth()
	if !ok || user != "" || password != Token {
		write(w, answer{401, Object{"error": "invalid token"}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanges++
	claims, err := json.Marshal(Object{"iat": time.Now().Unix(), "exp": time.Now().Add(s.JWTLife).Unix(), "jti": s.exchanges})
	if err != nil {
		s.t.Error(err)
	}
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	jwt := head + "." + base64.RawURLEncoding.EncodeToString(claims) + ".c2lnbmF0dXJl"
	s.jwts = append(s.jwts, jwt)
	write(w, answer{200, Object{"token": jwt}})
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Token struct{ Name string } `json:"token"`
	}
	s.read(r, &body)
	if user, password, _ := r.BasicAuth(); user != User || password != Password {
		write(w, answer{401, Object{"error": ""}})
		return
	}
	if body.Token.Name == "" {
		s.t.Error("POST /v1/tokens without a name")
	}
	write(w, answer{201, Object{"token": Object{"id": "1", "name": body.Token.Name, "created_at": Epoch, "last_used_at": nil, "token": Token}}})
}

func (s *Server) authorized(header string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	jwt, ok := strings.CutPrefix(header, "Bearer ")
	return ok && slices.Contains(s.jwts, jwt)
}

// id makes an id that is different each time and the same in each run.
func (s *Server) id(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s00000000-0000-4000-8000-%012d", prefix, s.serial)
}
