package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// maxText bounds a text answer (build output, a dump of logs).
const maxText = 256 << 20

// getText fetches a text from an absolute URL; 204 and 404 mean that there is
// none. It has no time limit but its context: dumps may be long.
func (c *Client) getText(ctx context.Context, target, authorization string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	c.setHeaders(req, authorization)
	req.Header.Set("Accept", "text/plain, application/json;q=0.5")
	resp, err := c.http.Do(req)
	if err != nil {
		return "", c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	switch {
	case err != nil:
		return "", c.unreachable(ctx, fmt.Errorf("the answer broke off: %w", err))
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusNoContent:
		return "", nil
	case resp.StatusCode != http.StatusOK:
		return "", c.errorOf(req, resp, body)
	}
	return string(body), nil
}
