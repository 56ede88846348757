package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

var (
	webMember = platform.Member{Addr: netip.MustParseAddr("10.240.0.1"), AppID: "ap-1", App: "shop-web", Type: "web", Number: 1}
	seen      = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	someFlow  = platform.Flow{From: webMember, To: platform.Member{Addr: netip.MustParseAddr("10.240.0.2")}, Service: platform.Service{Protocol: platform.TCP, Port: 3000},
		Packets: 5, Bytes: 500, ReplyPackets: 4, ReplyBytes: 4000, Verdict: platform.WouldDeny, LastSeen: seen}
)

var (
	webJSON  = map[string]any{"name": "shop-web/web/1", "address": "10.240.0.1", "app_id": "ap-1", "app": "shop-web", "type": "web", "number": 1.}
	flowWant = map[string]any{"from": webJSON, "to": map[string]any{"name": "10.240.0.2", "address": "10.240.0.2", "app_id": "", "app": "", "type": "", "number": 0.},
		"protocol": "tcp", "port": 3000., "port_known": true, "packets": 5., "bytes": 500., "reply_packets": 4., "reply_bytes": 4000., "verdict": "would-deny", "last_seen": "2026-11-23T12:00:00Z"}
)

func TestFlowsAndDrops(t *testing.T) {
	s := newServer(t)
	app := s.createApp("shop-web")
	path := "/v1/atoll/projects/" + app.ProjectID
	for _, list := range []string{"flows", "drops"} {
		if l, isList := s.ask("GET", path+"/"+list, "", 200).at(list).([]any); !isList || len(l) != 0 {
			t.Errorf("%s: no empty list", list)
		}
		if s.traffic.network != s.networkOf(app) {
			t.Errorf("asked about network %+v", s.traffic.network)
		}
	}
	s.traffic.flows = []platform.Flow{someFlow}
	s.traffic.drops = []platform.Drop{{From: webMember, Reason: "spoofed-ip", Count: 3, LastSeen: seen}}
	if diff := cmp.Diff([]any{flowWant}, s.ask("GET", path+"/flows", "", 200).at("flows")); diff != "" {
		t.Error(diff)
	}
	s.traffic.flows[0].Service = platform.Service{Protocol: platform.UDP}
	s.ask("GET", path+"/flows", "", 200).want(false, "flows", 0, "port_known")
	want := []any{map[string]any{"from": webJSON, "to": map[string]any{"name": "-", "address": "", "app_id": "", "app": "", "type": "", "number": 0.},
		"reason": "spoofed-ip", "count": 3., "last_seen": "2026-11-23T12:00:00Z"}}
	if diff := cmp.Diff(want, s.ask("GET", path+"/drops", "", 200).at("drops")); diff != "" {
		t.Error(diff)
	}
	s.traffic.fail = errors.New("no table")
	s.ask("GET", path+"/flows", "", 500)
	s.ask("GET", path+"/drops", "", 500)
	s.ask("GET", path+"/flows?follow=true", "", 500)
}

// follow opens the stream of flows and returns its lines.
func (s *server) follow(ctx context.Context, projectID string) *bufio.Scanner {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/v1/atoll/projects/"+projectID+"/flows?follow=true", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.adaJWT)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		s.t.Fatalf("answer is %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return bufio.NewScanner(resp.Body)
}

func TestFollowedFlowsAreALineEach(t *testing.T) {
	s := newServer(t, func(c *Config) { c.PingEvery = 5 * time.Millisecond })
	lines := s.follow(t.Context(), s.createApp("shop-web").ProjectID)
	s.traffic.live <- []platform.Flow{someFlow, someFlow}
	flows, pings := 0, 0
	for flows < 2 || pings < 2 {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		if lines.Text() == "" {
			pings++
			continue
		}
		var got any
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(any(flowWant), got); diff != "" {
			t.Error(diff)
		}
		flows++
	}
	s.api.Close()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("Close breaks the stream off: %v", err)
	}
}

func TestAFollowerThatGoesAwayIsForgotten(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.follow(ctx, s.createApp("shop-web").ProjectID)
	cancel()
	// Close waits for handlers: one that does not end would hang the test.
	s.Close()
}
