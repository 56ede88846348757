package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Source is a place for one source archive. Both URLs carry their own
// short-lived credential.
type Source struct {
	UploadURL   string `json:"upload_url"`
	DownloadURL string `json:"download_url"`
}

// CreateSource asks for a place to upload an archive to.
func (c *Client) CreateSource(ctx context.Context) (Source, error) {
	var answer struct {
		Source Source `json:"source"`
	}
	_, err := c.do(ctx, request{method: "POST", path: "/sources", body: struct{}{}, want: []int{201}, doing: "cannot prepare the upload"}, &answer)
	return answer.Source, err
}

// Upload sends an archive of size bytes to a source. It has no time limit but
// its context.
func (c *Client) Upload(ctx context.Context, s Source, archive io.Reader, size int64) error {
	const doing = "cannot upload the source"
	// NopCloser: the transport closes bodies, and the archive is the caller's.
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.UploadURL, io.NopCloser(archive))
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	req.ContentLength = size
	c.setHeaders(req, "")
	req.Header.Set("Content-Type", "application/x-gzip")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, c.unreachable(ctx, err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", doing, c.unreachable(ctx, err))
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", doing, c.errorOf(req, resp, body))
	}
	return nil
}
