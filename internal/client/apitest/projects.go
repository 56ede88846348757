package apitest

import "net/http"

func (s *Server) newProject(name string, isDefault bool) Object {
	return Object{"id": s.id("prj-"), "name": name, "default": isDefault, "flags": Object{"private-network": true},
		"created_at": Epoch, "updated_at": Epoch, "owner": owner()}
}

func (s *Server) projectRoutes() {
	s.handle("GET /v1/projects", func(*http.Request) answer { return answer{200, Object{"projects": s.projects}} })
	s.handle("POST /v1/projects", func(r *http.Request) answer {
		var body struct {
			Project struct {
				Name    string `json:"name"`
				Default bool   `json:"default"`
			} `json:"project"`
		}
		s.read(r, &body)
		for _, p := range s.projects {
			if p["name"] == body.Project.Name {
				return invalid("name", "has already been taken")
			}
		}
		p := s.newProject(body.Project.Name, body.Project.Default)
		s.projects = append(s.projects, p)
		return answer{201, Object{"project": p}}
	})
	s.handleProject("GET", "", func(i int, _ *http.Request) answer { return answer{200, Object{"project": s.projects[i]}} })
	s.handleProject("PATCH", "", func(i int, r *http.Request) answer {
		var body struct {
			Project struct {
				Name string `json:"name"`
			} `json:"project"`
		}
		s.read(r, &body)
		s.projects[i]["name"] = body.Project.Name
		return answer{200, Object{"project": s.projects[i]}}
	})
	s.handleProject("DELETE", "", func(i int, _ *http.Request) answer {
		if s.projects[i]["default"] == true {
			return answer{409, Object{"error": "the default project cannot be deleted"}}
		}
		s.projects = append(s.projects[:i], s.projects[i+1:]...)
		return answer{status: 204}
	})
	s.handleProject("GET", "/private_network", func(i int, _ *http.Request) answer {
		return answer{200, Object{"id": "pn-1", "subnet": "10.240.0.0/22", "gateway": "",
			"max_ips_count": 1022, "used_ips_count": 2, "used_ips": []string{"10.240.0.0", "10.240.0.1", "10.240.0.2"}}}
	})
}

func (s *Server) handleProject(method, rest string, h func(i int, r *http.Request) answer) {
	s.handle(method+" /v1/projects/{project}"+rest, func(r *http.Request) answer {
		for i, p := range s.projects {
			if p["id"] == r.PathValue("project") {
				return h(i, r)
			}
		}
		return notFound("project", "project "+r.PathValue("project")+" was not found")
	})
}
