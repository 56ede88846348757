package apitest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// network is what the server knows of a project's private network.
type network struct {
	mode     string
	warning  string
	rules    []Object
	refusals []Object
	flows    []Object
	drops    []Object
	streams  map[chan Object]bool
}

func (s *Server) network(projectID string) *network {
	if s.networks[projectID] == nil {
		s.networks[projectID] = &network{mode: "open", rules: []Object{}, refusals: []Object{}, flows: []Object{}, drops: []Object{}, streams: map[chan Object]bool{}}
	}
	return s.networks[projectID]
}

// Member is a container as flows and drops show it; AddFlow and AddDrop give it
// the id of its app, if there is one of that name.
func Member(app, processType string, number string) Object {
	return Object{"name": app + "/" + processType + "/" + number, "address": "10.240.0." + number, "app_id": "ap-" + app, "app": app, "type": processType, "number": json.Number(number)}
}

// AddFlow puts a conversation into the network of the default project, and
// tells those who follow.
func (s *Server) AddFlow(from, to Object, protocol string, port, packets int, verdict string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to = s.identified(from), s.identified(to)
	flow := Object{"from": from, "to": to, "protocol": protocol, "port": port, "port_known": port != 0 || protocol == "icmp" || protocol == "47", "packets": packets, "bytes": packets * 100,
		"reply_packets": packets, "reply_bytes": packets * 1000, "verdict": verdict, "last_seen": Epoch}
	n := s.network(s.projects[0]["id"].(string))
	n.flows = append(n.flows, flow)
	for ch := range n.streams {
		ch <- flow
	}
}

// WarnOfPolicy sets what the policy of the default project is warned of.
func (s *Server) WarnOfPolicy(warning string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.network(s.projects[0]["id"].(string)).warning = warning
}

// AddRefusal puts what the policy of the default project refuses: the rule that
// would allow it, or a protocol and port that no rule can be about.
func (s *Server) AddRefusal(rule, protocol string, portKnown bool, packets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.network(s.projects[0]["id"].(string))
	n.refusals = append(n.refusals, Object{"rule": rule, "from": party("shop-web:web"), "to": party("catalog:api"), "protocol": protocol, "port": 0,
		"port_known": portKnown, "verdict": "denied", "packets": packets, "last_seen": Epoch})
}

// AddDrop puts a drop into the network of the default project.
func (s *Server) AddDrop(from, to Object, reason string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.network(s.projects[0]["id"].(string))
	n.drops = append(n.drops, Object{"from": s.identified(from), "to": s.identified(to), "reason": reason, "count": count, "last_seen": Epoch})
}

func (s *Server) identified(member Object) Object {
	member = maps.Clone(member)
	for _, a := range s.apps {
		if a.object["name"] == member["app"] {
			member["app_id"] = a.object["id"]
		}
	}
	return member
}

// AwaitFlowStream waits until somebody follows the flows of the default
// project.
func (s *Server) AwaitFlowStream() {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		streams := len(s.network(s.projects[0]["id"].(string)).streams)
		s.mu.Unlock()
		if streams > 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Error("nobody followed the flows within 10 s")
			return
		}
	}
}

func (s *Server) trafficRoutes() {
	s.handleNetwork("GET", "/policy", func(n *network, _ *http.Request) answer { return answer{200, n.policy()} })
	s.handleNetwork("PUT", "/policy", func(n *network, r *http.Request) answer {
		var body struct {
			Policy struct {
				Mode string `json:"mode"`
			} `json:"policy"`
		}
		s.read(r, &body)
		if !slices.Contains([]string{"open", "dry-run", "deny"}, body.Policy.Mode) {
			return invalid("mode", "must be open, dry-run or deny")
		}
		n.mode = body.Policy.Mode
		return answer{200, n.policy()}
	})
	s.handleNetwork("POST", "/policy/rules", func(n *network, r *http.Request) answer {
		var body struct {
			Rule string `json:"rule"`
		}
		s.read(r, &body)
		// Without the checks of the platform: FROM -> TO PORT.
		words := strings.Fields(body.Rule)
		if len(words) != 4 {
			return invalid("rule", body.Rule+" has no port")
		}
		port, protocol, found := strings.Cut(words[3], "/")
		if !found {
			protocol = "tcp"
		}
		words[3] = port + "/" + protocol
		text := strings.Join(words, " ")
		if slices.ContainsFunc(n.rules, func(o Object) bool { return o["rule"] == text }) {
			return answer{409, Object{"error": "the policy has that rule already"}}
		}
		rule := Object{"id": s.id(""), "rule": text, "from": party(words[0]), "to": party(words[2]), "protocol": protocol, "port": json.Number(port), "created_at": Epoch}
		n.rules = append(n.rules, rule)
		return answer{201, Object{"rule": rule}}
	})
	s.handleNetwork("DELETE", "/policy/rules/{rule}", func(n *network, r *http.Request) answer {
		before := len(n.rules)
		n.rules = slices.DeleteFunc(n.rules, func(o Object) bool { return o["id"] == r.PathValue("rule") })
		if len(n.rules) == before {
			return notFound("rule", "the policy has no such rule")
		}
		return answer{status: 204}
	})
	s.handleNetwork("GET", "/refusals", func(n *network, _ *http.Request) answer { return answer{200, Object{"refusals": n.refusals}} })
	s.handleNetwork("GET", "/drops", func(n *network, _ *http.Request) answer { return answer{200, Object{"drops": n.drops}} })
	s.mux.HandleFunc("GET /v1/atoll/projects/{project}/flows", func(w http.ResponseWriter, r *http.Request) {
		if !s.authorized(r.Header.Get("Authorization")) {
			write(w, answer{401, Object{"error": ""}})
			return
		}
		if r.URL.Query().Get("follow") == "true" {
			s.flowStream(w, r)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		write(w, answer{200, Object{"flows": s.network(r.PathValue("project")).flows}})
	})
}

func (n *network) policy() Object {
	return Object{"policy": Object{"mode": n.mode, "rules": n.rules, "warning": n.warning}}
}

func party(text string) Object {
	app, kind, _ := strings.Cut(text, ":")
	return Object{"app_id": "ap-" + app, "app": app, "type": kind}
}

// handleNetwork adds an endpoint below /v1/atoll/projects/{project}.
func (s *Server) handleNetwork(method, rest string, h func(*network, *http.Request) answer) {
	s.handle(method+" /v1/atoll/projects/{project}"+rest, func(r *http.Request) answer {
		for _, p := range s.projects {
			if p["id"] == r.PathValue("project") {
				return h(s.network(r.PathValue("project")), r)
			}
		}
		return notFound("project", "project "+r.PathValue("project")+" was not found")
	})
}

func (s *Server) flowStream(w http.ResponseWriter, r *http.Request) {
	flows := make(chan Object, 100)
	s.mu.Lock()
	n := s.network(r.PathValue("project"))
	n.streams[flows] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(n.streams, flows)
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	for line := []byte("\n"); ; {
		if _, err := w.Write(line); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case flow, open := <-flows:
			if !open {
				return
			}
			text, err := json.Marshal(flow)
			if err != nil {
				s.t.Error(err)
				return
			}
			line = append(text, '\n')
		}
	}
}

// dropFlows ends the streams of flows. s.mu is held.
func (s *Server) dropFlows() {
	for _, n := range s.networks {
		for ch := range n.streams {
			close(ch)
			delete(n.streams, ch)
		}
	}
}
