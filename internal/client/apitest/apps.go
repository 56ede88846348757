package apitest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// AddApp puts an app into the default project, with web:1:M and no
// deployment.
func (s *Server) AddApp(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addApp(name, s.projects[0])
}

func (s *Server) addApp(name string, project Object) *app {
	a := &app{operations: map[string]int{}, logs: newLogBook(),
		formation: []Object{{"app_id": "", "name": "web", "amount": 1, "command": "./server", "size": "M"}}}
	a.object = Object{"id": s.id("ap-"), "name": name, "region": "local", "owner": owner(), "git_url": "",
		"url": "http://" + name + ".example.test", "base_url": "http://" + name + ".example.test", "status": "new",
		"last_deployed_at": nil, "last_deployed_by": "", "created_at": Epoch, "updated_at": Epoch,
		"links":    Object{"deployments_stream": s.wsURL() + "/streams/" + name},
		"stack_id": "st-1", "sticky_session": false, "force_https": false, "router_logs": false,
		"private_networks_ids": []string{"pn-1"}, "project": Object{"id": project["id"], "name": project["name"]}}
	s.apps = append(s.apps, a)
	return a
}

// wsURL is the base of web sockets; it is "" until the server runs.
func (s *Server) wsURL() string {
	if s.Server == nil {
		return ""
	}
	return strings.Replace(s.URL, "http://", "ws://", 1)
}

func (s *Server) appRoutes() {
	s.handle("GET /v1/apps", func(*http.Request) answer {
		objects := []Object{}
		for _, a := range s.apps {
			objects = append(objects, a.object)
		}
		return answer{200, Object{"apps": objects}}
	})
	s.handle("POST /v1/apps", func(r *http.Request) answer {
		var body struct {
			App struct {
				Name      string `json:"name"`
				ProjectID string `json:"project_id"`
			} `json:"app"`
		}
		s.read(r, &body)
		if slices.ContainsFunc(s.apps, func(a *app) bool { return a.object["name"] == body.App.Name }) {
			return invalid("name", "has already been taken")
		}
		project := s.projects[0]
		for _, p := range s.projects {
			if p["id"] == body.App.ProjectID {
				project = p
			}
		}
		return answer{201, Object{"app": s.addApp(body.App.Name, project).object}}
	})
	s.handleApp("GET", "", func(a *app, _ *http.Request) answer { return answer{200, Object{"app": a.object}} })
	s.handleApp("POST", "/rename", func(a *app, r *http.Request) answer {
		var body struct {
			Current string `json:"current_name"`
			New     string `json:"new_name"`
		}
		s.read(r, &body)
		if body.Current != a.object["name"] {
			return invalid("current_name", "is not the name of the app")
		}
		a.object["name"] = body.New
		a.object["url"] = "http://" + body.New + ".example.test"
		return answer{200, Object{"app": a.object}}
	})
	s.handleApp("DELETE", "", func(a *app, r *http.Request) answer {
		if r.URL.Query().Get("current_name") != a.object["name"] {
			return invalid("current_name", "is not the name of the app")
		}
		s.apps = slices.DeleteFunc(s.apps, func(other *app) bool { return a == other })
		return answer{status: 204}
	})
	s.handleApp("GET", "/private_network_domain_names", s.privateNames)
	s.handleApp("GET", "/events", func(a *app, r *http.Request) answer { return s.eventPage(a.events, r) })
	s.handle("GET /v1/events", func(r *http.Request) answer { return s.eventPage(nil, r) })
	s.variableRoutes()
}

// AddEvent puts an event at the top of an app's timeline.
func (s *Server) AddEvent(name, kind string, data Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(name)
	a.events = append([]Object{{"id": s.id(""), "app_id": a.object["id"], "app_name": name, "created_at": Epoch,
		"user": owner(), "type": kind, "type_data": data}}, a.events...)
}

func (s *Server) eventPage(events []Object, r *http.Request) answer {
	if events == nil {
		events = []Object{}
	}
	return answer{200, Object{"events": events, "meta": pagination(r, len(events))}}
}

func pagination(r *http.Request, total int) Object {
	page := 1
	if _, err := fmt.Sscan(r.URL.Query().Get("page"), &page); err != nil {
		page = 1
	}
	return Object{"pagination": Object{"current_page": page, "prev_page": nil, "next_page": nil, "total_pages": 1, "total_count": total}}
}

// privateNames has three names on two pages, whatever per_page is.
func (s *Server) privateNames(a *app, r *http.Request) answer {
	base := fmt.Sprintf("%s.pn-1.private-network.internal.", a.object["id"])
	pages := map[string][]string{"1": {base, "web." + base}, "2": {"1.web." + base}}
	page := r.URL.Query().Get("page")
	return answer{200, Object{"domain_names": Object{"data": pages[page],
		"meta": Object{"current_page": 1, "per_page": 2, "prev_page": 1, "next_page": 2, "total_pages": 2, "total_count": 3}}}}
}

func (s *Server) find(name string) *app {
	for _, a := range s.apps {
		if a.object["name"] == name {
			return a
		}
	}
	panic("the test server has no app " + name)
}
