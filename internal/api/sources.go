package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
)

// Lives of a source. An upload must begin within uploadLife of the request
// for it. The download URL is also what a deployment is created with, after
// an upload that may have been slow. What nobody deployed is removed after
// sourceLife.
const (
	uploadLife   = 10 * time.Minute
	downloadLife = time.Hour
	sourceLife   = 24 * time.Hour
	// uploadIdle is how long an upload may be silent.
	uploadIdle = time.Minute
)

// SourcePath returns where the uploaded archive of a source is, given the
// folder of all (Config.Sources).
func SourcePath(folder, sourceID string) string {
	return filepath.Join(folder, filepath.Base(sourceID)+".tar.gz")
}

// sourceJSON is where to put an archive and where it is then. Both URLs carry
// their own credential.
type sourceJSON struct {
	UploadURL   string `json:"upload_url"`
	DownloadURL string `json:"download_url"`
}

func (a *API) createSource(q *request) (response, error) {
	a.removeOldSources()
	id := platform.NewID()
	upload, err := q.sourceURL(auth.Upload, id, uploadLife)
	if err != nil {
		return nil, err
	}
	download, err := q.sourceURL(auth.Download, id, downloadLife)
	if err != nil {
		return nil, err
	}
	return created(object{"source": sourceJSON{UploadURL: upload, DownloadURL: download}})
}

// uploadSource stores the body, once per source. A failed upload may be
// repeated.
func (a *API) uploadSource(q *request) (response, error) {
	target := SourcePath(a.Sources, q.PathValue("id"))
	if q.ContentLength > a.MaxSource {
		return nil, a.tooLarge()
	}
	if _, err := os.Stat(target); err == nil {
		return nil, errUploaded
	}
	file, err := os.OpenFile(target+".part", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, platform.Conflict("another upload of this source is running; wait for its end or ask for a new source")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot store an upload: %w", err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // what is left is removed after sourceLife
	if err := errors.Join(a.receive(q, file), file.Close()); err != nil {
		return nil, err
	}
	// Link, unlike Rename, never replaces what another upload has finished.
	err = os.Link(file.Name(), target)
	if errors.Is(err, fs.ErrExist) {
		return nil, errUploaded
	}
	if err != nil {
		return nil, fmt.Errorf("cannot store an upload: %w", err)
	}
	return ok(object{})
}

func (a *API) downloadSource(q *request) (response, error) {
	file, err := os.Open(SourcePath(a.Sources, q.PathValue("id")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, platform.NotFound("source", "nothing was uploaded there, or it was deployed or removed since")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open a source: %w", err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		defer file.Close()
		w.Header().Set("Content-Type", "application/gzip")
		io.Copy(w, file) //nolint:errcheck // the client is gone
	}, nil
}

// sourceOf finds the source that a deployment's source_url names: one of
// ours, of the same user, uploaded.
func (a *API) sourceOf(q *request, sourceURL string) (string, error) {
	const field = "source_url"
	if sourceURL == "" {
		return "", platform.Invalid(field, "must be the download_url of a source: POST /v1/sources, upload the archive, then deploy")
	}
	u, err := url.Parse(sourceURL)
	if err != nil {
		return "", platform.Invalid(field, "is no URL: %v", err)
	}
	dir, id := path.Split(u.Path)
	if _, err := uuid.Parse(id); err != nil || dir != "/v1/sources/" {
		return "", platform.Invalid(field, "must be the download_url of a source of this server; it does not fetch archives from elsewhere: download it yourself and deploy the file")
	}
	userID, object, err := a.tokens.Verify(auth.Download, u.Query().Get("token"))
	switch {
	case errors.Is(err, auth.ErrExpired):
		return "", platform.Invalid(field, "has expired; upload the archive again")
	case err != nil || object != id || userID != q.user.ID:
		return "", platform.Invalid(field, "is not the download_url of a source of yours")
	}
	if _, err := os.Stat(SourcePath(a.Sources, id)); err != nil {
		return "", platform.Invalid(field, "nothing was uploaded there, or it was deployed already; upload the archive first")
	}
	return id, nil
}

// Private

var errUploaded = platform.Conflict("this source was uploaded already; ask for a new source")

func (a *API) tooLarge() error {
	return &httpError{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf(
		"the archive is larger than %d MiB; leave out what is not needed to build (.slugignore, .gitignore)", a.MaxSource>>20)}
}

func (q *request) sourceURL(a auth.Audience, id string, life time.Duration) (string, error) {
	token, err := q.api.tokens.Sign(a, q.user.ID, id, life)
	return q.base() + "/v1/sources/" + id + "?token=" + url.QueryEscape(token), err
}

// receive copies the body to file, within the limits of size and silence.
func (a *API) receive(q *request, file io.Writer) error {
	body := bufio.NewReader(&patient{body: http.MaxBytesReader(q.w, q.Body, a.MaxSource), rc: http.NewResponseController(q.w)})
	// An early word about the commonest mistake: a zip, or a tar as it is.
	if magic, err := body.Peek(2); err == nil && !bytes.Equal(magic, []byte{0x1f, 0x8b}) || errors.Is(err, io.EOF) {
		return platform.Invalid("archive", "must be a tar compressed with gzip (.tar.gz)")
	}
	_, err := io.Copy(file, body)
	var large *http.MaxBytesError
	var onDisk *fs.PathError
	switch {
	case errors.As(err, &large):
		return a.tooLarge()
	case errors.As(err, &onDisk):
		return fmt.Errorf("cannot store an upload: %w", err)
	case err != nil:
		return badRequest("the upload did not arrive whole; try again")
	}
	return nil
}

// patient reads a body as long as some of it comes within uploadIdle.
type patient struct {
	body io.Reader
	rc   *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	// Without deadlines (a test's recorder) there is just no limit.
	_ = p.rc.SetReadDeadline(time.Now().Add(uploadIdle))
	n, err := p.body.Read(b)
	if err != nil {
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// removeOldSources removes what was uploaded and never deployed, and what a
// killed server left of uploads.
func (a *API) removeOldSources() {
	entries, err := os.ReadDir(a.Sources)
	if err != nil {
		a.Log.Error("Cannot look for old sources", "error", err)
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.Contains(e.Name(), ".tar.gz") || a.Now().Sub(info.ModTime()) < sourceLife {
			continue
		}
		if err := os.Remove(filepath.Join(a.Sources, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.Log.Error("Cannot remove an old source", "file", e.Name(), "error", err)
		}
	}
}
