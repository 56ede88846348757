package client_test

import (
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/atollhq/atoll/internal/client/apitest"
)

func TestTheEndOfAOneOffAndItsReason(t *testing.T) {
	c := newClient(t, apitest.New(t))
	for _, reason := range []string{"", "it was stopped by ada", "it was stopped: Zoë\nsaid so"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/one-offs/o1/wait" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			if reason != "" {
				w.Header().Set("X-Atoll-Reason", mime.QEncoding.Encode("utf-8", reason))
			}
			_, _ = io.WriteString(w, `{"exit_code":143}`)
		}))
		defer s.Close()
		code, got, err := c.WaitOneOff(within(t), s.URL+"/v1/one-offs/o1")
		if err != nil || code != 143 || got != reason {
			t.Errorf("code %d, reason %q, error %v; want the reason %q", code, got, err, reason)
		}
	}
}
