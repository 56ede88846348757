package upkeep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/internal/statefile"
)

// ConsentLife is how long an acceptance waits for its use.
const ConsentLife = 10 * time.Minute

// Consent accepts what is refused now: the next look or start of the server
// with this run folder removes it.
func Consent(runDir string) error {
	if err := os.MkdirAll(runDir, 0o711); err != nil {
		return fmt.Errorf("cannot note the acceptance: %w", err)
	}
	if err := os.WriteFile(consentFile(runDir), nil, 0o600); err != nil {
		return fmt.Errorf("cannot note the acceptance: %w", err)
	}
	return nil
}

// TakeConsent reports whether there is an acceptance, and uses it up.
func TakeConsent(runDir string) (bool, error) {
	info, err := os.Stat(consentFile(runDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = os.Remove(consentFile(runDir))
	}
	if err != nil {
		return false, fmt.Errorf("cannot use the acceptance of a removal: %w", err)
	}
	return time.Since(info.ModTime()) < ConsentLife, nil
}

// ReadState reads what the last look of a server came to. fs.ErrNotExist
// before the first.
func ReadState(runDir string) (s State, err error) {
	text, err := os.ReadFile(StateFile(runDir))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("cannot read the state of the networks: %w", err)
	}
	return s, nil
}

// Private

func consentFile(runDir string) string { return filepath.Join(runDir, "accept-removal") }

// writeState writes the state; the file appears whole or not at all.
func writeState(runDir string, s State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return statefile.Replace(StateFile(runDir), append(text, '\n'), 0o600)
}
