package logs

import (
	"strings"
	"testing"
	"time"
)

func TestLineRoundTrip(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_000_000, time.FixedZone("", 3600))
	for _, text := range []string{"", "hello", "  two  spaces ", "[web-2] not a label", "ümläut"} {
		line := Line{At: at, Label: "web-1", Text: text}.String()
		if want := "2026-03-04 04:06:07.008000000 +0000 UTC [web-1] " + text; line != want {
			t.Errorf("line %q, want %q", line, want)
		}
		// What the official client does: split at single spaces, then the
		// fifth token is the label in brackets.
		tokens := strings.Split(line, " ")
		if len(tokens) < 5 || tokens[4] != "[web-1]" {
			t.Errorf("tokens %q: the fifth is not the label", tokens)
		}
		back, err := ParseLine(line)
		if err != nil || !back.At.Equal(at) || back.Label != "web-1" || back.Text != text {
			t.Errorf("%q became %+v, error %v", line, back, err)
		}
	}
}

func TestParseLineRefuses(t *testing.T) {
	good := "2026-03-04 04:06:07.008000000 +0000 UTC [web-1] text"
	for name, line := range map[string]string{
		"empty":            "",
		"cut in the time":  good[:12],
		"cut in the label": good[:len("2026-03-04 04:06:07.008000000 +0000 UTC [we")],
		"no time":          "xxxx" + good[4:],
		"no label":         strings.Replace(good, "[web-1]", "[]", 1),
		"bad label":        strings.Replace(good, "[web-1]", "[w b]", 1),
		"another zone":     strings.Replace(good, "+0000", "+0100", 1),
		"two lines":        good + "\nmore",
	} {
		if l, err := ParseLine(line); err == nil {
			t.Errorf("%s: accepted as %+v", name, l)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("2026-03-04 04:06:07.008000000 +0000 UTC [web-1] text")
	f.Add("2026-03-04 04:06:07.008000000 +0000 UTC [one-off-12] ")
	f.Add("2026-02-30 04:06:07.000000000 +0000 UTC [web-1] [x] y")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLine(s)
		if err != nil {
			return
		}
		if back := l.String(); back != s {
			t.Fatalf("%q was read as %+v, which is written %q", s, l, back)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte("text\r"))
	f.Add([]byte("a\nb\x00\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		line := string(encode(time.Unix(1, 2), "web-1", text))
		body, ok := strings.CutSuffix(line, "\n")
		if _, err := ParseLine(body); !ok || err != nil {
			t.Fatalf("%q became %q: %v", text, line, err)
		}
	})
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter    string
		yes, no   string
		malformed bool
	}{
		{filter: "", yes: "web-1 router one-off-3"},
		{filter: "web", yes: "web-1 web-12", no: "webhook-1 router web2-1 one-off-1"},
		{filter: "web-1", yes: "web-1", no: "web-12 web-2"},
		{filter: "web|worker", yes: "web-1 worker-2", no: "router"},
		{filter: "router", yes: "router", no: "web-1"},
		{filter: "one-off", yes: "one-off-1", no: "one-1"},
		{filter: "one-off-1", yes: "one-off-1", no: "one-off-11"},
		{filter: "web|", malformed: true},
		{filter: "web.*", malformed: true},
		{filter: "a b", malformed: true},
	} {
		f, err := ParseFilter(c.filter)
		if (err != nil) != c.malformed {
			t.Errorf("filter %q: error %v", c.filter, err)
			continue
		}
		for _, label := range strings.Fields(c.yes) {
			if !f.Match(label) {
				t.Errorf("filter %q does not take %s", c.filter, label)
			}
		}
		for _, label := range strings.Fields(c.no) {
			if f.Match(label) {
				t.Errorf("filter %q takes %s", c.filter, label)
			}
		}
	}
}
