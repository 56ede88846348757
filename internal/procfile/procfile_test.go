package procfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestParseAccepts(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Entry
	}{
		{"one line", "web: ./server", []Entry{{"web", "./server", 1}}},
		{"no space after the colon", "web:./server", []Entry{{"web", "./server", 1}}},
		{"spaces around everything", "  web \t:   ./server --now  \n", []Entry{{"web", "./server --now", 1}}},
		{"comments and blank lines", "# what runs\n\nweb: a\n   # indented\n\nworker: b\n", []Entry{{"web", "a", 3}, {"worker", "b", 6}}},
		{"a hash inside a command stays", "web: echo '#1' # one", []Entry{{"web", "echo '#1' # one", 1}}},
		{"CRLF", "web: a\r\nworker: b\r\n", []Entry{{"web", "a", 1}, {"worker", "b", 2}}},
		{"byte order mark", "\uFEFFweb: a\n", []Entry{{"web", "a", 1}}},
		{"colons in the command", "web: serve http://[::]:$PORT", []Entry{{"web", "serve http://[::]:$PORT", 1}}},
		{"bash is kept as written", `web: FOO=1 exec "$CMD" && x || y; z`, []Entry{{"web", `FOO=1 exec "$CMD" && x || y; z`, 1}}},
		{"digits and capitals", "Worker2: a\n3: b", []Entry{{"Worker2", "a", 1}, {"3", "b", 2}}},
		{"24 characters", strings.Repeat("a", 24) + ": a", []Entry{{strings.Repeat("a", 24), "a", 1}}},
		{"reserved types", "web: a\ntcp: b\npostdeploy: c", []Entry{{"web", "a", 1}, {"tcp", "b", 2}, {"postdeploy", "c", 3}}},
		{"UTF-8 in a command", "web: echo héé", []Entry{{"web", "echo héé", 1}}},
		{"no newline at the end", "a: 1\nb: 2", []Entry{{"a", "1", 1}, {"b", "2", 2}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings, err := Parse(strings.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(warnings) != 0 {
				t.Errorf("warnings: %q", warnings)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string // parts of the message
	}{
		{"nothing", "", []string{"no process type", "web: ./server"}},
		{"only comments", "# web: a\n\n", []string{"no process type"}},
		{"only release", "release: migrate", []string{"no process type"}},
		{"duplicate", "web: a\nworker: b\nweb: c", []string{"line 3", "line 1", "`web`"}},
		{"duplicate but for case", "web: a\nWeb: c", []string{"line 2", "line 1", "case"}},
		{"dash", "web: a\nmy-worker: b", []string{"line 2", "`my-worker`", "`myworker`", "no dashes"}},
		{"underscore", "my_worker: b", []string{"`myworker`"}},
		{"25 characters", strings.Repeat("a", 25) + ": a", []string{"1 to 24", "`" + strings.Repeat("a", 24) + "`"}},
		{"no letters at all", "--: a", []string{"`--`", "1 to 24"}},
		{"not ASCII", "wörker: a", []string{"`wrker`"}},
		{"no name", ": ./server", []string{"line 1", "no name", "web: ./server"}},
		{"no colon", "web ./server", []string{"line 1", "no colon"}},
		{"empty command", "web: a\nworker:   \n", []string{"line 2", "`worker` has no command"}},
		{"a command with a colon and no name", "curl http://x/", []string{"bad name `curl http`"}},
		{"NUL", "web: a\x00b", []string{"NUL"}},
		{"control character", "web: a\x1b[31m", []string{"line 1", "control character"}},
		{"lone carriage return", "web: a\rworker: b", []string{"control character"}},
		{"not UTF-8", "web: \xff\xfe", []string{"UTF-8"}},
		{"UTF-16", "\xff\xfew\x00e\x00b\x00", []string{"UTF-16"}},
		{"too large", "web: " + strings.Repeat("a", MaxSize), []string{"64 KiB"}},
		{"every problem at once", "my-a: 1\nb:\nc", []string{"line 1", "line 2", "line 3"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, _, err := Parse(strings.NewReader(tt.in))
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, %v; want an *Error", entries, err)
			}
			if entries != nil {
				t.Errorf("entries beside an error: %v", entries)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("message lacks %q:\n%v", part, err)
				}
			}
		})
	}
}

func TestParseIgnoresReleaseWithAWarning(t *testing.T) {
	entries, warnings, err := Parse(strings.NewReader("release: migrate\nweb: a\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{{"web", "a", 2}}, entries); diff != "" {
		t.Error(diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "line 1") || !strings.Contains(warnings[0], "postdeploy") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestParseLimitsTheNumberOfTypes(t *testing.T) {
	var b strings.Builder
	for i := range MaxEntries + 1 {
		fmt.Fprintf(&b, "p%d: a\n", i)
	}
	_, _, err := Parse(strings.NewReader(b.String()))
	if err == nil || !strings.Contains(err.Error(), "101 process types") {
		t.Errorf("got %v", err)
	}
}

func TestParseReportsAReaderThatFails(t *testing.T) {
	broken := errors.New("disk on fire")
	_, _, err := Parse(iotest.ErrReader(broken))
	var refused *Error
	if !errors.Is(err, broken) || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

// The rule about names is the domain's; this package repeats it so as to
// import nothing, and must not differ.
func TestNamesAreTheDomains(t *testing.T) {
	for _, name := range []string{"", "a", "A1", "9", "a-b", "a_b", "é", strings.Repeat("a", 24), strings.Repeat("a", 25), "a\n"} {
		if got, want := validName.MatchString(name), platform.ValidateProcessType(name) == nil; got != want {
			t.Errorf("%q: valid here %v, for the domain %v", name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"web: ./server\n", "web: a\r\nworker: b", "\uFEFFweb: a", "# c\n\nmy-worker: x", "release: x\nweb: y",
		"web", ":", "web:", "a: b\na: c", "web: a\x00", "\xff\xfew", "web : a # b", "web: \u2028",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, err := Parse(strings.NewReader(string(data)))
		if err != nil {
			if entries != nil || err.Error() == "" {
				t.Fatalf("entries %v beside error %q", entries, err)
			}
			return
		}
		if len(entries) == 0 || len(entries) > MaxEntries {
			t.Fatalf("%d entries without an error", len(entries))
		}
		seen := map[string]bool{}
		var again strings.Builder
		for _, e := range entries {
			if err := platform.ValidateProcessType(e.Name); err != nil {
				t.Fatal(err)
			}
			if seen[strings.ToLower(e.Name)] {
				t.Fatalf("%s twice", e.Name)
			}
			seen[strings.ToLower(e.Name)] = true
			if e.Command == "" || strings.ContainsAny(e.Command, "\n\r\x00") {
				t.Fatalf("command %q", e.Command)
			}
			fmt.Fprintf(&again, "%s: %s\n", e.Name, e.Command)
		}
		// What was read can be written and read again.
		second, _, err := Parse(strings.NewReader(again.String()))
		if err != nil || len(second) != len(entries) {
			t.Fatalf("%q read again: %v, %v", again.String(), second, err)
		}
	})
}
