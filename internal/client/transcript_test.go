package client

import (
	"strings"
	"testing"
	"time"
)

func TestTranscript(t *testing.T) {
	for _, test := range []struct {
		name     string
		sessions [][]string
		want     string
	}{
		{"one connection", [][]string{{"a\n", "b\n"}}, "a\nb\n"},
		{"replay in the same pieces", [][]string{{"a\n", "b\n"}, {"a\n", "b\n", "c\n"}}, "a\nb\nc\n"},
		{"replay in one piece", [][]string{{"a\n", "b\n"}, {"a\nb\nc\n"}}, "a\nb\nc\n"},
		{"replay broken off, then again", [][]string{{"a\n", "b\n"}, {"a\n"}, {"a\n", "b\n", "c\n"}}, "a\nb\nc\n"},
		{"empty pieces", [][]string{{"a\n", ""}, {"", "a\n", "b\n"}}, "a\nb\n"},
		{"no replay", [][]string{{"a\n"}, {"b\n"}}, "a\nb\n"},
		{"twice the same line", [][]string{{"a\n", "a\n"}, {"a\n", "a\n", "a\n"}}, "a\na\na\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tr transcript
			var got strings.Builder
			for _, session := range test.sessions {
				tr.reconnected()
				for _, piece := range session {
					got.WriteString(tr.add(piece))
				}
			}
			if got.String() != test.want {
				t.Errorf("got %q, want %q", got.String(), test.want)
			}
			if missing, ok := tr.complete(test.want + "end\n"); !ok || missing != "end\n" {
				t.Errorf("complete: %q, %v", missing, ok)
			}
		})
	}
}

// FuzzTranscript checks that replays in any pieces never repeat nor lose.
func FuzzTranscript(f *testing.F) {
	f.Add("one\ntwo\nthree\n", uint8(3), uint8(5))
	f.Add("aaaa", uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, whole string, cut, step uint8) {
		var tr transcript
		var got strings.Builder
		first := whole[:min(int(cut), len(whole))]
		for _, session := range []string{first, whole} {
			tr.reconnected()
			for rest := session; rest != ""; {
				n := min(int(step)+1, len(rest))
				got.WriteString(tr.add(rest[:n]))
				rest = rest[n:]
			}
		}
		if got.String() != whole {
			t.Errorf("got %q, want %q", got.String(), whole)
		}
	})
}

func FuzzLifetime(f *testing.F) {
	f.Add("a.eyJleHAiOjE3MDAwMDAwMDAsImlhdCI6MTY5OTk5NjQwMH0.c")
	f.Add("a.e30.c")
	f.Fuzz(func(t *testing.T, jwt string) {
		if life, err := lifetime(jwt, time.Now()); err == nil && (life < 0 || life > 24*time.Hour) {
			t.Errorf("%q lives %v", jwt, life)
		}
	})
}

func TestLifetimeDoesNotDependOnTheClock(t *testing.T) {
	// exp 1700000000, iat 1699996400: one hour, whatever time it is here.
	life, err := lifetime("a.eyJleHAiOjE3MDAwMDAwMDAsImlhdCI6MTY5OTk5NjQwMH0.c", time.Unix(0, 0))
	if err != nil || life != time.Hour {
		t.Errorf("%v, %v", life, err)
	}
}
