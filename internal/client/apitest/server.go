package apitest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Credentials that the server accepts.
const (
	Token    = "tk-us-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL"
	User     = "jane"
	Password = "correct horse"
)

// Object is a JSON object as it goes over the wire.
type Object = map[string]any

// Server is one running server. Its fields may be set before the first
// request.
type Server struct {
	*httptest.Server
	// JWTLife is the life of issued JWTs; one hour by default.
	JWTLife time.Duration
	// Script plays each deployment, in a goroutine of its own; by default it
	// succeeds at once.
	Script func(*Deployment)
	// OperationPolls is how often an operation answers "running" before it
	// ends, with OperationError as its error if that is not empty.
	OperationPolls int
	OperationError string
	// AfterDump is called after each dump of logs was made, before it is sent.
	AfterDump func()

	t         testing.TB
	mux       *http.ServeMux
	mu        sync.Mutex
	overrides map[string]http.HandlerFunc
	requests  []string
	exchanges int
	jwts      []string
	projects  []Object
	apps      []*app
	uploads   map[string][]byte
	networks  map[string]*network
	serial    int
	scripts   sync.WaitGroup
}

// app is an app with what belongs to it.
type app struct {
	object      Object
	vars        []Object
	formation   []Object
	deployments []*Deployment
	operations  map[string]int
	events      []Object
	logs        *logBook
}

// New starts a server that ends with the test. It has the project "default"
// and no apps.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, mux: http.NewServeMux(), JWTLife: time.Hour, OperationPolls: 1,
		overrides: map[string]http.HandlerFunc{}, uploads: map[string][]byte{}, networks: map[string]*network{},
		Script: func(d *Deployment) { d.Status("success") },
	}
	s.projects = []Object{s.newProject("default", true)}
	s.routes()
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.DropStreams()
		s.Server.CloseClientConnections()
		s.Server.Close()
		s.scripts.Wait()
	})
	return s
}

// Override answers "METHOD /path" by h from now on; nil ends that.
func (s *Server) Override(pattern string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overrides[pattern] = h
}

// Requests lists the requests so far, as "METHOD /path?query".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Exchanges counts the token exchanges so far.
func (s *Server) Exchanges() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchanges
}

// RevokeJWTs makes all issued JWTs invalid, like a restart with a new key.
func (s *Server) RevokeJWTs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jwts = nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	override := s.overrides[r.Method+" "+r.URL.Path]
	s.mu.Unlock()
	if !strings.HasPrefix(r.UserAgent(), "atoll/") {
		s.t.Errorf("%s %s: User-Agent is %q", r.Method, r.URL.Path, r.UserAgent())
	}
	if override != nil {
		override(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// routes is the API of this server.
func (s *Server) routes() {
	s.mux.HandleFunc("POST /v1/tokens/exchange", s.exchange)
	s.mux.HandleFunc("POST /v1/tokens", s.createToken)
	s.handle("GET /v1/users/self", func(r *http.Request) answer {
		return answer{200, Object{"user": owner()}}
	})
	s.projectRoutes()
	s.appRoutes()
	s.containerRoutes()
	s.deploymentRoutes()
	s.logRoutes()
	s.trafficRoutes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.t.Errorf("no such request in the API: %s %s", r.Method, r.URL)
		write(w, answer{404, Object{"error": "no such path"}})
	})
}

// answer is a status and a body; nil means an empty one.
type answer struct {
	status int
	body   any
}

// handle adds an endpoint that wants a valid JWT.
func (s *Server) handle(pattern string, h func(*http.Request) answer) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if !s.authorized(r.Header.Get("Authorization")) {
			write(w, answer{401, Object{"error": ""}})
			return
		}
		// Written under the lock: scripts change the objects meanwhile.
		s.mu.Lock()
		defer s.mu.Unlock()
		write(w, h(r))
	})
}

// handleApp adds an endpoint below /v1/apps/{app}.
func (s *Server) handleApp(method, rest string, h func(*app, *http.Request) answer) {
	s.handle(method+" /v1/apps/{app}"+rest, func(r *http.Request) answer {
		for _, a := range s.apps {
			if r.PathValue("app") == a.object["name"] || r.PathValue("app") == a.object["id"] {
				return h(a, r)
			}
		}
		return notFound("app", "app "+r.PathValue("app")+" was not found")
	})
}

func notFound(resource, text string) answer {
	return answer{404, Object{"resource": resource, "error": text}}
}

func invalid(field, text string) answer {
	return answer{422, Object{"errors": Object{field: []string{text}}}}
}

func write(w http.ResponseWriter, a answer) {
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if object, ok := a.body.(Object); ok && object["$location"] != nil {
		w.Header().Set("Location", object["$location"].(string))
		delete(object, "$location")
	}
	w.WriteHeader(a.status)
	// A client that went away is the business of its test.
	_ = json.NewEncoder(w).Encode(a.body)
}

// read decodes a JSON body and reports whatever the API does not know.
func (s *Server) read(r *http.Request, into any) {
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		s.t.Errorf("%s %s: Content-Type is %q", r.Method, r.URL.Path, got)
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	dec := json.NewDecoder(strings.NewReader(string(content)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		s.t.Errorf("%s %s: body %s: %v", r.Method, r.URL.Path, content, err)
	}
}
