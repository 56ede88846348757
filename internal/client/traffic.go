package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Flow is a conversation inside a private network: all connections of From to
// one port of To.
type Flow struct {
	From     Member `json:"from"`
	To       Member `json:"to"`
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
	// PortKnown is false for packets that did not show their port, and for many
	// new flows that were counted together. Port is 0 then, as it is for a
	// protocol that has no ports.
	PortKnown bool `json:"port_known"`
	// Packets and Bytes went from From to To, the others back.
	Packets      uint64 `json:"packets"`
	Bytes        uint64 `json:"bytes"`
	ReplyPackets uint64 `json:"reply_packets"`
	ReplyBytes   uint64 `json:"reply_bytes"`
	// Verdict is allowed, denied or would-deny.
	Verdict  string    `json:"verdict"`
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// Member is a container, or an address that no container is known for; then
// App is "".
type Member struct {
	// Name is "app/type/number", or the address.
	Name    string `json:"name"`
	Address string `json:"address"`
	AppID   string `json:"app_id"`
	App     string `json:"app"`
	Type    string `json:"type"`
	Number  int    `json:"number"`
}

// Drop counts what the private network refused to deliver for one reason.
type Drop struct {
	From     Member    `json:"from"`
	To       Member    `json:"to"`
	Reason   string    `json:"reason"`
	Count    uint64    `json:"count"`
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// Flows lists the conversations in the private network of a project, the
// latest first.
func (c *Client) Flows(ctx context.Context, projectID string) ([]Flow, error) {
	var answer struct {
		Flows []Flow `json:"flows"`
	}
	_, err := c.do(ctx, request{method: "GET", path: flowsPath(projectID), want: []int{200}, doing: "cannot list the flows"}, &answer)
	return answer.Flows, err
}

// Drops lists what was dropped in the private network of a project, the
// latest first.
func (c *Client) Drops(ctx context.Context, projectID string) ([]Drop, error) {
	var answer struct {
		Drops []Drop `json:"drops"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/atoll/projects/" + segment(projectID) + "/drops", want: []int{200}, doing: "cannot list the drops"}, &answer)
	return answer.Drops, err
}

// FollowFlows hands on the conversations of a project that have traffic, each
// with what came since it was handed on last, until ctx ends; then it returns
// ctx.Err(). notice gets remarks about the connection. An interrupted stream
// is opened again; what happened meanwhile is lost. An error of the first
// attempt is returned at once.
func (c *Client) FollowFlows(ctx context.Context, projectID string, flow func(Flow), notice func(text string)) error {
	var pauses backoff
	for begun := false; ; {
		opened, err := c.readFlows(ctx, projectID, flow)
		begun = begun || opened
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !begun || !passing(err):
			return fmt.Errorf("cannot follow the flows: %w", err)
		case opened:
			notice("The live stream was interrupted; connecting again.")
			pauses.reset()
		}
		if err := pauses.wait(ctx); err != nil {
			return err
		}
	}
}

// readFlows reads one connection until it ends, and reports whether it was
// opened at all.
func (c *Client) readFlows(ctx context.Context, projectID string, flow func(Flow)) (opened bool, err error) {
	err = c.authorized(ctx, func(jwt string) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		quiet := time.AfterFunc(c.cfg.Timeout, cancel)
		defer quiet.Stop()
		req, err := http.NewRequestWithContext(ctx, "GET", c.base.String()+"/v1"+flowsPath(projectID)+"?follow=true", nil)
		if err != nil {
			return err
		}
		c.setHeaders(req, "Bearer "+jwt)
		resp, err := c.http.Do(req)
		if err != nil {
			return &UnreachableError{URL: c.base.String(), Err: err}
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
			if err != nil {
				return &UnreachableError{URL: c.base.String(), Err: err}
			}
			return c.errorOf(req, resp, content)
		}
		opened = true
		for lines := bufio.NewReader(resp.Body); ; {
			quiet.Reset(quietLimit)
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return &UnreachableError{URL: c.base.String(), Err: err}
			}
			var f Flow
			if len(bytes.TrimSpace(line)) == 0 { // a sign of life
				continue
			}
			if err := json.Unmarshal(line, &f); err != nil {
				return c.notOurs(req, resp.StatusCode)
			}
			flow(f)
		}
	})
	return opened, err
}

func flowsPath(projectID string) string { return "/atoll/projects/" + segment(projectID) + "/flows" }
