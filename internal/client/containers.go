package client

import (
	"context"
	"net/http"
	"time"
)

// Container is one running (or starting, or stopping) container.
type Container struct {
	ID        string    `json:"id"`
	Label     string    `json:"label"`
	Type      string    `json:"type"`
	Index     int       `json:"type_index"`
	State     string    `json:"state"`
	Command   string    `json:"command"`
	Size      Size      `json:"container_size"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	// Atoll is what only Atoll servers tell; nil from others.
	Atoll *ContainerExtra `json:"atoll,omitempty"`
}

// ContainerExtra is what the compatible API has no word for.
type ContainerExtra struct {
	// PrivateIP is "" while it has none.
	PrivateIP string `json:"private_ip"`
	// InService: it is in the names of its type and, for web, behind the
	// router.
	InService bool `json:"in_service"`
	// Reason explains the states crashed and failed; the next attempt is at
	// RetryAt.
	Reason   string     `json:"reason"`
	Restarts int        `json:"restarts"`
	RetryAt  time.Time  `json:"retry_at,omitzero"`
	Version  string     `json:"version"`
	Node     string     `json:"node"`
	Listens  []Listener `json:"listens"`
}

// Listener is a socket that waits for traffic inside a container.
type Listener struct {
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Port     uint16 `json:"port"`
}

// Size is a container size as the server describes it.
type Size struct {
	Name      string `json:"name"`
	HumanName string `json:"human_name,omitempty"`
	// Memory is in bytes.
	Memory int64 `json:"memory,omitempty"`
}

// ProcessType is a line of an app's formation.
type ProcessType struct {
	Name    string `json:"name"`
	Amount  int    `json:"amount"`
	Size    string `json:"size"`
	Command string `json:"command"`
}

// Scale is a wish for one process type. Size "" keeps the present one.
type Scale struct {
	Name   string `json:"name"`
	Amount int    `json:"amount"`
	Size   string `json:"size"`
}

// Containers lists what runs of an app, one-offs included.
func (c *Client) Containers(ctx context.Context, app string) ([]Container, error) {
	var answer struct {
		Containers []Container `json:"containers"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/ps", want: []int{200}, doing: "cannot list the containers"}, &answer)
	return answer.Containers, err
}

// Formation lists an app's process types.
func (c *Client) Formation(ctx context.Context, app string) ([]ProcessType, error) {
	var answer formation
	_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/containers", want: []int{200}, doing: "cannot show the formation"}, &answer)
	return answer.Containers, err
}

// ScaleApp asks for other amounts or sizes and returns the whole formation
// as it shall be, with the id of the operation to wait for. The id is "" when
// nothing runs yet and the change is complete.
func (c *Client) ScaleApp(ctx context.Context, app string, wishes []Scale) ([]ProcessType, string, error) {
	var answer formation
	body := map[string]any{"containers": wishes}
	header, err := c.do(ctx, request{method: "POST", path: "/apps/" + segment(app) + "/scale", body: body,
		want: []int{http.StatusOK, http.StatusAccepted}, doing: "cannot scale"}, &answer)
	if err != nil {
		return nil, "", err
	}
	return answer.Containers, operationID(header), nil
}

// RestartApp restarts types ("web") or containers ("web-1"), all of them
// with an empty scope, and returns the id of the operation.
func (c *Client) RestartApp(ctx context.Context, app string, scope []string) (string, error) {
	if scope == nil {
		scope = []string{}
	}
	body := map[string]any{"scope": scope}
	header, err := c.do(ctx, request{method: "POST", path: "/apps/" + segment(app) + "/restart", body: body,
		want: []int{http.StatusAccepted}, doing: "cannot restart"}, nil)
	if err != nil {
		return "", err
	}
	return operationID(header), nil
}

type formation struct {
	Containers []ProcessType `json:"containers"`
}
