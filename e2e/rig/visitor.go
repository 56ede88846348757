package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// page is an answer of the router or of the API.
type page struct {
	Status int
	header http.Header
	Body   string
}

// Visit gets a URL from the internet. headers are names and values.
func (m *Machine) Visit(url string, headers ...string) (page, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return page{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return Send(m.Client, req)
}

// Get is visit for an answer that has to have a status.
func (m *Machine) Get(t testing.TB, status int, url string, headers ...string) page {
	t.Helper()
	p, err := m.Visit(url, headers...)
	if err != nil {
		t.Fatal(err)
	}
	if p.Status != status {
		t.Fatalf("GET %s: status %d, want %d\n%s", url, p.Status, status, p.Body)
	}
	return p
}

func Send(client *http.Client, req *http.Request) (page, error) {
	resp, err := client.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return page{resp.StatusCode, resp.Header, string(body)}, err
}

// Read reads the JSON of a page into v.
func (p page) Read(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.Body), v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, p.Body)
	}
}

// Call sends a request to the API. body is marshalled unless it is bytes.
func (m *Machine) Call(t testing.TB, method, url string, body any, authorize func(*http.Request)) page {
	t.Helper()
	content, raw := body.([]byte)
	if !raw && body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if !raw {
		req.Header.Set("Content-Type", "application/json")
	}
	if authorize != nil {
		authorize(req)
	}
	p, err := Send(m.Client, req)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Session logs in to the API.
func (m *Machine) Session(t testing.TB) (authorize func(*http.Request)) {
	t.Helper()
	p := m.Call(t, http.MethodPost, APIURL+"/v1/tokens/exchange", struct{}{}, func(r *http.Request) { r.SetBasicAuth("", m.token) })
	var answer struct{ Token string }
	p.Read(t, &answer)
	if p.Status != http.StatusOK || answer.Token == "" {
		t.Fatalf("cannot log in: status %d: %s", p.Status, p.Body)
	}
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+answer.Token) }
}

// patience is how long something that must not answer is waited for.
const patience = time.Second

// WantClosed checks that an address takes no connection from the internet.
func (m *Machine) WantClosed(t testing.TB, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := m.Lab.DialInternet(ctx, "tcp4", addr)
	if err == nil {
		conn.Close()
		t.Errorf("%s takes connections from the internet", addr)
	}
}

// WantNoAnswer checks that an address answers no DNS question from the
// internet.
func (m *Machine) WantNoAnswer(t testing.TB, addr, name string) {
	t.Helper()
	conn, err := m.Lab.DialInternet(context.Background(), "udp4", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	client := dns.Client{Timeout: patience}
	if reply, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), &dns.Conn{Conn: conn}); err == nil {
		t.Errorf("%s answers the internet: %s", addr, fmt.Sprint(reply))
	}
}
