package oneoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// The user of the stack image, who owns the files that are uploaded.
const (
	stackUID = 10000
	stackGID = 10000
)

// AddFile stores a file for a one-off that waits for its client. It will be
// in platform.UploadDir of the container. CodeInvalid for a name that cannot
// be one of a file, or one that is too large.
func (s *Service) AddFile(_ context.Context, id, name string, content io.Reader) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\\\x00") {
		return platform.Invalid("file", "%q cannot be the name of a file", name)
	}
	l, err := s.beginUpload(id)
	if err != nil {
		return err
	}
	defer s.endUpload(l)
	dir := s.uploads(id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot store an upload: %w", err)
	}
	if err := os.Chown(dir, stackUID, stackGID); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot store an upload: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return platform.Invalid("file", "%q was uploaded already", name)
	}
	if err != nil {
		return fmt.Errorf("cannot store an upload: %w", err)
	}
	err = errors.Join(s.receive(f, name, content), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// Private

// beginUpload bounds how many files there are, so that nobody fills the disk.
// As long as one is coming, its client is not late.
func (s *Service) beginUpload(id string) (*live, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.waiting(id)
	if err != nil {
		return nil, err
	}
	if l.uploads >= platform.MaxUploads {
		return nil, platform.Invalid("file", "at most %d files can be uploaded; pack them into one archive", platform.MaxUploads)
	}
	l.uploads++
	l.uploading++
	return l, nil
}

// endUpload gives the client the time again that it has to connect.
func (s *Service) endUpload(l *live) {
	s.mu.Lock()
	l.uploading--
	if l.record.State == platform.OneOffWaiting {
		l.record.Deadline = time.Now().Add(s.WaitLimit)
	}
	ended := s.live[l.id] != l
	s.mu.Unlock()
	s.wake()
	if !ended {
		return
	}
	// It was stopped meanwhile: what came since would stay.
	if err := s.discard(l.id); err != nil {
		s.Log.Error("Cannot discard a file that came too late", "container", l.id, "error", err)
	}
}

func (s *Service) receive(f *os.File, name string, content io.Reader) error {
	if err := f.Chown(stackUID, stackGID); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot store an upload: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(content, platform.MaxUpload+1))
	if err != nil {
		return fmt.Errorf("cannot store the upload %s: %w", name, err)
	}
	if n > platform.MaxUpload {
		return platform.Invalid("file", "%q is larger than %d MiB", name, platform.MaxUpload>>20)
	}
	return nil
}
