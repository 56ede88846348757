package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// MinPassword and MaxPassword bound a password, in bytes.
const (
	MinPassword = 8
	MaxPassword = 1024
)

// Cost of a new hash: argon2id with 19 MiB, two passes, one lane (the
// smallest setting OWASP recommends; a server that builds apps has better
// use for its memory).
const (
	memoryKiB = 19 * 1024
	passes    = 2
	lanes     = 1
	keyLength = 32
)

// A check needs memoryKiB; more of them than this wait, so that a flood of
// logins cannot take the memory of the machine.
var checks = make(chan struct{}, 2)

// nobody is compared with when there is no such user, so that the answer
// takes as long as for one who exists.
var nobody = hash([]byte("nobody has this password"), make([]byte, 16))

// HashPassword returns the argon2id hash of a password in the PHC string
// format ($argon2id$v=19$m=...,t=...,p=...$salt$hash).
func HashPassword(password string) (string, error) {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return "", fmt.Errorf("the password has %d bytes; use %d to %d", len(password), MinPassword, MaxPassword)
	}
	salt := make([]byte, 16)
	rand.Read(salt) //nolint:errcheck // never fails since Go 1.24
	return hash([]byte(password), salt), nil
}

// CheckPassword reports whether password is the one of stored, a hash by
// HashPassword. An empty stored hash (no such user, or a user without a
// password) matches nothing and takes as long.
func CheckPassword(stored, password string) bool {
	if len(password) > MaxPassword {
		return false
	}
	checks <- struct{}{}
	defer func() { <-checks }()
	exists := stored != ""
	if !exists {
		stored = nobody
	}
	p, err := parse(stored)
	if err != nil {
		return false
	}
	got := argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.lanes, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(got, p.key) == 1 && exists
}

// Private

func hash(password, salt []byte) string {
	key := argon2.IDKey(password, salt, passes, memoryKiB, lanes, keyLength)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memoryKiB, passes, lanes,
		enc.EncodeToString(salt), enc.EncodeToString(key))
}

type phc struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

var errHash = errors.New("the stored password hash cannot be read")

// parse reads a hash. The costs are bounded: a damaged row must not make the
// server allocate gigabytes.
func parse(text string) (p phc, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil {
		return p, errHash
	}
	if p.memory < 8 || p.memory > 1<<20 || p.passes < 1 || p.passes > 16 || p.lanes < 1 || p.lanes > 16 {
		return p, errHash
	}
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, errHash
	}
	if p.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(p.key) < 16 || len(p.key) > 128 {
		return p, errHash
	}
	return p, nil
}
