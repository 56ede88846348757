package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LogQuery chooses lines of an app's log.
type LogQuery struct {
	// Lines is how many of the last lines to show first.
	Lines int
	// Filter names types or containers, separated by "|"; "" means all.
	Filter string
}

var stamped = regexp.MustCompile(`^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d+ `)

// resumeLines is how many lines are looked at for missed ones after the live
// stream was interrupted.
const resumeLines = 1000

// Logs returns the last lines of an app's log, "" when there are none.
func (c *Client) Logs(ctx context.Context, app string, q LogQuery) (string, error) {
	target, err := c.logsURL(ctx, app)
	if err != nil {
		return "", err
	}
	text, err := c.dumpLogs(ctx, target, q)
	if err != nil {
		return "", fmt.Errorf("cannot read the logs: %w", err)
	}
	return text, nil
}

// FollowLogs hands on the last lines and then each new one, whole lines only,
// until ctx ends; then it returns ctx.Err(). An interrupted stream is opened
// again, and lines missed meanwhile are handed on as far as the last
// thousand reach back. Errors before the first line are returned at once.
func (c *Client) FollowLogs(ctx context.Context, app string, q LogQuery, f Follower) error {
	t := &tail{client: c, app: app, query: q, f: f, seen: map[string]bool{}}
	var pauses backoff
	for {
		err := t.followOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !t.started || (err != nil && !passing(err)):
			return err
		}
		if t.lively {
			f.Notice("The live stream was interrupted; connecting again.")
			pauses.reset()
		}
		t.lively = false
		if err := pauses.wait(ctx); err != nil {
			return err
		}
	}
}

// tail is one run of FollowLogs.
type tail struct {
	client *Client
	app    string
	query  LogQuery
	f      Follower
	// started: the first lines were handed on; lively: this connection is
	// open.
	started, lively bool
	// seen and order hold the last lines handed on, to leave out repetitions.
	// Only lines that begin with their time in nanoseconds are in it: for
	// these alone, equal means the same.
	seen  map[string]bool
	order []string
}

// followOnce opens the stream first and reads the dump then. A server may
// need a moment to take part in its own log after it opened the stream, so a
// second look at the dump finds what fell between the two.
func (t *tail) followOnce(ctx context.Context) error {
	target, err := t.client.logsURL(ctx, t.app)
	if err != nil {
		return err
	}
	s, err := t.client.dial(ctx, t.streamURL(target))
	if err != nil {
		return fmt.Errorf("cannot follow the logs: %w", err)
	}
	defer s.close()
	if err := t.readDump(ctx, target); err != nil {
		return err
	}
	t.lively = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frames := make(chan []byte)
	ended := make(chan error, 1)
	go func() { ended <- s.readAll(ctx, frames) }()
	secondLook := time.NewTimer(t.client.cfg.PollInterval)
	defer secondLook.Stop()
	for {
		select {
		case frame := <-frames:
			t.showFrame(frame)
		case <-secondLook.C:
			if err := t.readDump(ctx, target); err != nil {
				return err
			}
		case err := <-ended:
			return &UnreachableError{URL: t.client.URL(), Err: err}
		}
	}
}

func (t *tail) streamURL(target *url.URL) string {
	query := target.Query()
	query.Set("stream", "true")
	if t.query.Filter != "" {
		query.Set("filter", t.query.Filter)
	}
	stream := *target
	stream.RawQuery = query.Encode()
	return stream.String()
}

// readDump hands on the lines that were asked for the first time, and what is
// new since then later. Where no lines were asked for, one is fetched all the
// same, to know from where on lines are new.
func (t *tail) readDump(ctx context.Context, target *url.URL) error {
	q := t.query
	if t.started {
		q.Lines = resumeLines
	}
	silent := !t.started && q.Lines == 0
	if silent {
		q.Lines = 1
	}
	dump, err := t.client.dumpLogs(ctx, target, q)
	if err != nil {
		return fmt.Errorf("cannot read the logs: %w", err)
	}
	all := lines(dump)
	switch {
	case silent:
		for _, line := range all {
			t.remember(line)
		}
	case t.started:
		t.catchUp(all)
	default:
		for _, line := range all {
			t.show(line)
		}
	}
	t.started = true
	return nil
}

// catchUp hands on the lines that are new. Those before the first known line
// are older than what was asked for. Lines without a time cannot be told
// apart and are left out.
func (t *tail) catchUp(all []string) {
	if first := slices.IndexFunc(all, func(line string) bool { return t.seen[line] }); first > 0 {
		all = all[first:]
	}
	for _, line := range all {
		if stamped.MatchString(line) {
			t.show(line)
		}
	}
}

func (t *tail) showFrame(content []byte) {
	var frame struct {
		Event string `json:"event"`
		Log   string `json:"log"`
	}
	if json.Unmarshal(content, &frame) != nil || frame.Event != "log" {
		return
	}
	for _, line := range lines(frame.Log) {
		t.show(line)
	}
}

func (t *tail) show(line string) {
	if t.remember(line) {
		t.f.Log(line + "\n")
	}
}

// remember reports whether a line is new.
func (t *tail) remember(line string) bool {
	if !stamped.MatchString(line) {
		return true
	}
	if t.seen[line] {
		return false
	}
	t.seen[line] = true
	if t.order = append(t.order, line); len(t.order) > 2*resumeLines {
		for _, old := range t.order[:resumeLines] {
			delete(t.seen, old)
		}
		t.order = slices.Clone(t.order[resumeLines:])
	}
	return true
}

// logsURL asks where the logs are; the URL carries its own credential.
func (c *Client) logsURL(ctx context.Context, app string) (*url.URL, error) {
	const doing = "cannot read the logs"
	var answer struct {
		LogsURL string `json:"logs_url"`
	}
	if _, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/logs", want: []int{200}, doing: doing}, &answer); err != nil {
		return nil, err
	}
	target, err := url.Parse(answer.LogsURL)
	if err != nil || answer.LogsURL == "" {
		return nil, fmt.Errorf("%s: the server names no address for them", doing)
	}
	return c.base.ResolveReference(target), nil
}

func (c *Client) dumpLogs(ctx context.Context, target *url.URL, q LogQuery) (string, error) {
	query := target.Query()
	query.Set("n", strconv.Itoa(q.Lines))
	if q.Filter != "" {
		query.Set("filter", q.Filter)
	}
	dump := *target
	dump.RawQuery = query.Encode()
	return c.getText(ctx, dump.String(), "")
}

func lines(text string) []string {
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
