package client

import "context"

// PathQuestion asks why a container does not reach something.
type PathQuestion struct {
	// Container is a label ("web-1") or a process type, which means its first
	// container.
	Container string `json:"container"`
	// To is a name or an address, as the container would use it.
	To string `json:"to"`
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
}

// PathDiagnosis is the answer.
type PathDiagnosis struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Service is "3000/tcp".
	Service string `json:"service"`
	Works   bool   `json:"works"`
	// Sentence says what is wrong and what to do, or that it works.
	Sentence string     `json:"sentence"`
	Steps    []PathStep `json:"steps"`
}

// PathStep is one thing that was looked at. Outcome is ok, warning, failed or
// skipped.
type PathStep struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Text    string `json:"text"`
}

// Diagnose finds out whether a container of an app reaches something, and why
// not. The container itself is used for it.
func (c *Client) Diagnose(ctx context.Context, app string, q PathQuestion) (PathDiagnosis, error) {
	var answer struct {
		Diagnosis PathDiagnosis `json:"diagnosis"`
	}
	_, err := c.do(ctx, request{method: "POST", path: "/atoll/apps/" + segment(app) + "/diagnoses", body: map[string]PathQuestion{"diagnosis": q},
		want: []int{200}, doing: "cannot find out"}, &answer)
	return answer.Diagnosis, err
}
