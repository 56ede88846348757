package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// flowJSON is a conversation: all connections of From to one port of To. In
// a stream it counts what came since the line before. PortKnown tells a
// protocol that has no ports from packets whose port (and protocol, "*" then)
// is not known: both have port 0.
type flowJSON struct {
	From         memberJSON       `json:"from"`
	To           memberJSON       `json:"to"`
	Protocol     string           `json:"protocol"`
	Port         uint16           `json:"port"`
	PortKnown    bool             `json:"port_known"`
	Packets      uint64           `json:"packets"`
	Bytes        uint64           `json:"bytes"`
	ReplyPackets uint64           `json:"reply_packets"`
	ReplyBytes   uint64           `json:"reply_bytes"`
	Verdict      platform.Verdict `json:"verdict"`
	LastSeen     *time.Time       `json:"last_seen"`
}

// memberJSON is a container, or an address that no container is known for.
type memberJSON struct {
	// Name is "app/type/number", or the address.
	Name    string `json:"name"`
	Address string `json:"address"`
	AppID   string `json:"app_id"`
	App     string `json:"app"`
	Type    string `json:"type"`
	Number  int    `json:"number"`
}

// dropJSON counts what was not delivered for one reason.
type dropJSON struct {
	From     memberJSON `json:"from"`
	To       memberJSON `json:"to"`
	Reason   string     `json:"reason"`
	Count    uint64     `json:"count"`
	LastSeen *time.Time `json:"last_seen"`
}

func (a *API) flows(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	if q.URL.Query().Get("follow") == "true" {
		return func(w http.ResponseWriter, r *http.Request) { a.followFlows(w, r, project) }, nil
	}
	flows, err := a.Traffic.Flows(q.Context(), project.Network)
	if err != nil {
		return nil, err
	}
	list := make([]flowJSON, 0, len(flows))
	for _, f := range flows {
		list = append(list, showFlow(f))
	}
	return ok(object{"flows": list})
}

func (a *API) drops(q *request) (response, error) {
	project, err := q.project()
	if err != nil {
		return nil, err
	}
	drops, err := a.Traffic.Drops(q.Context(), project.Network)
	if err != nil {
		return nil, err
	}
	list := make([]dropJSON, 0, len(drops))
	for _, d := range drops {
		list = append(list, dropJSON{From: showMember(d.From), To: showMember(d.To), Reason: d.Reason, Count: d.Count, LastSeen: date(d.LastSeen)})
	}
	return ok(object{"drops": list})
}

// Private

func showFlow(f platform.Flow) flowJSON {
	return flowJSON{From: showMember(f.From), To: showMember(f.To), Protocol: f.Service.Protocol.String(), Port: f.Service.Port, PortKnown: f.Service.Known(),
		Packets: f.Packets, Bytes: f.Bytes, ReplyPackets: f.ReplyPackets, ReplyBytes: f.ReplyBytes, Verdict: f.Verdict, LastSeen: date(f.LastSeen)}
}

func showMember(m platform.Member) memberJSON {
	shown := memberJSON{Name: m.String(), AppID: m.AppID, App: m.App, Type: m.Type, Number: m.Number}
	if m.Addr.IsValid() {
		shown.Address = m.Addr.String()
	}
	return shown
}

// followFlows streams a JSON object per line. Empty lines keep the connection
// alive. Its head is sent when from then on nothing is missed.
func (a *API) followFlows(w http.ResponseWriter, r *http.Request, project platform.Project) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)()
	l := &lineStream{w: w, rc: http.NewResponseController(w)}
	var pings sync.WaitGroup
	open := false
	err := a.Traffic.Follow(ctx, project.Network, func(flows []platform.Flow) error {
		if !open {
			open = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
			pings.Go(func() { l.ping(ctx, cancel, a.PingEvery) })
			return l.send(nil)
		}
		var text []byte
		for _, f := range flows {
			line, err := json.Marshal(showFlow(f))
			if err != nil {
				return err
			}
			text = append(append(text, line...), '\n')
		}
		if text == nil {
			return nil
		}
		return l.send(text)
	})
	cancel()
	pings.Wait() // nobody may write after the handler
	if !open {
		a.fail(w, r, err)
		return
	}
	a.Log.Debug("Stream of flows ended", "project", project.ID, "cause", err)
}

// lineStream is an answer without an end, written by more than one goroutine.
type lineStream struct {
	mu sync.Mutex
	w  http.ResponseWriter
	rc *http.ResponseController
}

// send writes text, which may be empty, and whatever was not sent yet. A
// client that does not read ends the stream.
func (l *lineStream) send(text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.rc.SetWriteDeadline(time.Now().Add(sendTimeout)) // not every writer has deadlines
	if _, err := l.w.Write(text); err != nil {
		return err
	}
	return l.rc.Flush()
}

func (l *lineStream) ping(ctx context.Context, cancel func(), every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if l.send([]byte("\n")) != nil {
				cancel()
			}
		}
	}
}
