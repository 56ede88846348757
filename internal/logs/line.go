package logs

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Line is one line of a log.
type Line struct {
	At time.Time
	// Label says who wrote it: "web-1", "router", "one-off-2", "platform".
	Label string
	// Text holds no newline.
	Text string
}

// timeFormat is the head of a line. Clients split lines at single spaces and
// count tokens, so none may be added or left out, and the fraction has a
// fixed width so that lines sort as text.
const timeFormat = "2006-01-02 15:04:05.000000000 +0000 UTC"

// String returns the line as it is in the file, without its newline:
//
//	2006-01-02 15:04:05.000000000 +0000 UTC [web-1] text
func (l Line) String() string {
	return l.At.UTC().Format(timeFormat) + " [" + l.Label + "] " + l.Text
}

// ParseLine reads what String wrote. The error says what is wrong with a
// line that a full disk or a crash cut off.
func ParseLine(s string) (Line, error) {
	if len(s) < len(timeFormat)+2 || s[len(timeFormat)] != ' ' || s[len(timeFormat)+1] != '[' {
		return Line{}, fmt.Errorf("not a log line: %.60q", s)
	}
	at, err := time.Parse(timeFormat, s[:len(timeFormat)])
	if err != nil {
		return Line{}, fmt.Errorf("not a log line: %w", err)
	}
	if at.Format(timeFormat) != s[:len(timeFormat)] { // time.Parse takes a comma for the dot
		return Line{}, fmt.Errorf("not a log line: %.60q", s)
	}
	label, text, ok := strings.Cut(s[len(timeFormat)+2:], "] ")
	if !ok || !validLabel(label) || strings.Contains(text, "\n") {
		return Line{}, fmt.Errorf("not a log line: %.60q", s)
	}
	return Line{At: at.UTC(), Label: label, Text: text}, nil
}

// validLabel reports whether a label can stand in a line: letters, digits
// and hyphens.
func validLabel(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// encode is a line with its newline, made of bytes that an app wrote: they
// lose a final carriage return, and newlines inside become spaces.
func encode(at time.Time, label string, text []byte) []byte {
	text = bytes.TrimSuffix(text, []byte("\r"))
	out := make([]byte, 0, len(timeFormat)+len(label)+len(text)+5)
	out = at.UTC().AppendFormat(out, timeFormat)
	out = append(out, " ["...)
	out = append(out, label...)
	out = append(out, "] "...)
	for _, c := range text {
		if c == '\n' {
			c = ' '
		}
		out = append(out, c)
	}
	return append(out, '\n')
}
