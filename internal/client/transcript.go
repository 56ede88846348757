package client

import "strings"

// transcript is the output of a deployment as far as it was handed on. A
// server replays the output from its beginning to whoever connects; the
// transcript lets only through what is new.
type transcript struct {
	text strings.Builder
	// replaying: a new connection may repeat text[at:].
	replaying bool
	at        int
}

// reconnected tells that what comes next may be a repetition.
func (t *transcript) reconnected() { t.replaying, t.at = true, 0 }

// add takes the next piece of a connection and returns what of it is new. A
// piece that differs from the expected repetition means that this server does
// not replay: then it is new altogether.
func (t *transcript) add(piece string) string {
	if piece == "" {
		return ""
	}
	if t.replaying {
		known := t.text.String()[t.at:]
		same := commonPrefix(known, piece)
		if same == len(piece) {
			t.at += same
			return ""
		}
		t.replaying = false
		if same == len(known) {
			piece = piece[same:]
		}
	}
	t.text.WriteString(piece)
	return piece
}

// complete takes the whole output, as fetched after the end, and returns what
// was never handed on. ok is false when the two do not fit together: then
// lines were lost on the way.
func (t *transcript) complete(whole string) (missing string, ok bool) {
	missing, ok = strings.CutPrefix(whole, t.text.String())
	if ok {
		t.text.WriteString(missing)
	}
	return missing, ok
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
