package source

import (
	"context"
	"errors"
	"io"
)

// input is the compressed stream. It remembers a failure of its own, so that
// it can be told from damage in the data, and ends when ctx does.
type input struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (i *input) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		i.err = err
		return 0, err
	}
	n, err := i.r.Read(p)
	// An upload that ends early is a cut-off archive like any other.
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		i.err = err
	}
	return n, err
}

// limited refuses to deliver more than max bytes.
type limited struct {
	r         io.Reader
	left, max int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, tooLarge(l.max)
	}
	return n, err
}

// onlyWriter and onlyReader hide every method but one. Else io.Copy would take
// the tar reader's WriteTo, which writes sparse files by seeking, and the
// kernel's copy calls, whose errors look like ours.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
