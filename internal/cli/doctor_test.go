package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

func TestDoctor(t *testing.T) {
	sh := newShell(t)
	var body string
	works := false
	sh.server.Override("POST /v1/atoll/apps/shop-web/diagnoses", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		_ = json.NewEncoder(w).Encode(map[string]any{"diagnosis": map[string]any{"from": "shop-web/web-1", "to": "api.billing.internal", "service": "3000/tcp",
			"works": works, "sentence": "It is so.", "steps": []any{
				map[string]string{"name": "name", "outcome": "ok", "text": "found"},
				map[string]string{"name": "listener", "outcome": "failed", "text": "none"}}}})
	})
	sh.run("doctor", "shop-web/web/1", "api.billing.internal", "3000").want(ExitFailure,
		"ok       name      found\nfailed   listener  none\n\nIt is so.\n", "")
	if want := `{"diagnosis":{"container":"web-1","to":"api.billing.internal","protocol":"tcp","port":3000}}`; body != want {
		t.Errorf("asked %s, want %s", body, want)
	}
	works = true
	sh.run("doctor", "-a", "shop-web", "web-2", "10.240.0.7", "53/udp").has(ExitOK, "It is so.")
	if want := `{"diagnosis":{"container":"web-2","to":"10.240.0.7","protocol":"udp","port":53}}`; body != want {
		t.Errorf("asked %s, want %s", body, want)
	}
	sh.run("doctor", "shop-web/web", "x.internal", "80/TCP", "--json").has(ExitOK, `"sentence": "It is so."`)

	sh.run("doctor", "shop-web/web/0", "x.internal", "80").has(ExitUsage, "APP/TYPE/NUMBER")
	sh.run("doctor", "a/b/c/d", "x.internal", "80").has(ExitUsage, "APP/TYPE/NUMBER")
	sh.run("doctor", "web", "x.internal", "80").has(ExitUsage, "no app is chosen")
	sh.run("doctor", "shop-web/web", "x.internal", "0").has(ExitUsage, "from 1 to 65535")
	sh.run("doctor", "shop-web/web", "x.internal", "80/icmp").has(ExitUsage, "/udp for UDP")
	sh.run("doctor", "shop-web/web", "x.internal").has(ExitUsage, "PORT is missing")
}
