package apitest

import (
	"fmt"
	"net/http"
)

func (s *Server) containerRoutes() {
	s.handleApp("GET", "/containers", func(a *app, _ *http.Request) answer {
		return answer{200, Object{"containers": a.formation}}
	})
	s.handleApp("GET", "/ps", func(a *app, _ *http.Request) answer {
		containers := []Object{}
		for _, p := range a.formation {
			for n := 1; n <= p["amount"].(int) && a.object["status"] == "running"; n++ {
				containers = append(containers, Object{"id": fmt.Sprintf("%s-%d", p["name"], n), "app_id": a.object["id"],
					"created_at": Epoch, "deleted_at": nil, "command": p["command"], "type": p["name"], "type_index": n,
					"label": fmt.Sprintf("%s-%d", p["name"], n), "state": "running", "app": Object{"id": a.object["id"], "name": a.object["name"]},
					"container_size": Object{"id": "1", "name": p["size"], "human_name": p["size"], "memory": 512 << 20},
					"atoll":          Object{"private_ip": fmt.Sprintf("10.240.0.%d", n), "in_service": true, "listens": []Object{}}})
			}
		}
		return answer{200, Object{"containers": containers}}
	})
	s.handleApp("POST", "/scale", s.scale)
	s.handleApp("POST", "/restart", func(a *app, r *http.Request) answer {
		var body struct {
			Scope []string `json:"scope"`
		}
		s.read(r, &body)
		if a.object["status"] != "running" {
			return answer{409, Object{"error": "the app does not run"}}
		}
		return answer{202, Object{"$location": s.startOperation(a)}}
	})
	s.handleApp("GET", "/operations/{id}", s.operation)
}

func (s *Server) scale(a *app, r *http.Request) answer {
	var body struct {
		Containers []struct {
			Name   string `json:"name"`
			Amount int    `json:"amount"`
			Size   string `json:"size"`
		} `json:"containers"`
	}
	s.read(r, &body)
	for _, wish := range body.Containers {
		var entry Object
		for _, p := range a.formation {
			if p["name"] == wish.Name {
				entry = p
			}
		}
		if entry == nil {
			return notFound("container_type", "the app has no process type "+wish.Name)
		}
		if wish.Amount > 10 {
			return invalid("amount", "must be at most 10")
		}
		entry["amount"] = wish.Amount
		if wish.Size != "" {
			entry["size"] = wish.Size
		}
	}
	if a.object["status"] != "running" {
		return answer{200, Object{"containers": a.formation}}
	}
	return answer{202, Object{"containers": a.formation, "$location": s.startOperation(a)}}
}

func (s *Server) startOperation(a *app) string {
	id := s.id("")
	a.operations[id] = s.OperationPolls
	return s.URL + "/v1/apps/" + a.object["name"].(string) + "/operations/" + id
}

func (s *Server) operation(a *app, r *http.Request) answer {
	id := r.PathValue("id")
	left, ok := a.operations[id]
	if !ok {
		return notFound("operation", "the operation was not found")
	}
	op := Object{"id": id, "app_id": a.object["id"], "created_at": Epoch, "finished_at": nil, "type": "scale", "status": "running", "error": ""}
	if left > 0 {
		a.operations[id]--
	} else {
		op["status"], op["finished_at"] = "done", Epoch
		if s.OperationError != "" {
			op["status"], op["error"] = "error", s.OperationError
		}
	}
	return answer{200, Object{"operation": op}}
}

// SetRunning makes an app run, with another formation if one is given.
func (s *Server) SetRunning(name string, formation ...Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(name)
	a.object["status"] = "running"
	if len(formation) > 0 {
		a.formation = formation
	}
}
