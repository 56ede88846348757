package apitest

import (
	"net/http"
	"slices"
	"strings"
)

func (s *Server) variableRoutes() {
	s.handleApp("GET", "/variables", func(a *app, r *http.Request) answer {
		vars := []Object{}
		for _, v := range a.vars {
			value := v["value"].(string)
			if r.URL.Query().Get("aliases") == "false" {
				value = a.resolve(value)
			}
			vars = append(vars, Object{"id": v["id"], "name": v["name"], "value": value})
		}
		return answer{200, Object{"variables": vars}}
	})
	s.handleApp("PUT", "/variables", func(a *app, r *http.Request) answer {
		var body struct {
			Variables []struct{ ID, Name, Value string } `json:"variables"`
		}
		s.read(r, &body)
		for _, v := range body.Variables {
			a.vars = slices.DeleteFunc(a.vars, func(old Object) bool { return old["name"] == v.Name })
			a.vars = append(a.vars, Object{"id": s.id(""), "name": v.Name, "value": v.Value})
		}
		return answer{200, Object{"variables": a.vars}}
	})
	s.handleApp("DELETE", "/variables/{id}", func(a *app, r *http.Request) answer {
		before := len(a.vars)
		a.vars = slices.DeleteFunc(a.vars, func(v Object) bool { return v["id"] == r.PathValue("id") })
		if len(a.vars) == before {
			return notFound("variable", "the variable was not found")
		}
		return answer{status: 204}
	})
}

func (a *app) resolve(value string) string {
	if target, ok := strings.CutPrefix(value, "$"); ok {
		for _, v := range a.vars {
			if v["name"] == target {
				return v["value"].(string)
			}
		}
	}
	return value
}
