package procfile

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of a Procfile. They are far above what people write and keep a
// hostile file from filling the store.
const (
	// MaxSize is the largest Procfile, in bytes.
	MaxSize = 64 << 10
	// MaxEntries is how many process types one app may have.
	MaxEntries = 100
	// maxNameLength is the longest name of a process type (PT-4).
	maxNameLength = 24
	// maxProblems is how many problems one Error lists.
	maxProblems = 10
)

// Entry is one process type of an app.
type Entry struct {
	// Name is 1 to 24 ASCII letters and digits (PT-4).
	Name string
	// Command is the Bash command that starts it, as written (PT-5).
	Command string
	// Line is where it stands in the file, from 1.
	Line int
}

// Error says what is wrong with a Procfile, every problem at once. Its text
// is meant for the user.
type Error struct {
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	// Line counts from 1; 0 means the file as a whole.
	Line    int
	Message string
}

// Error has one line per problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		where := "Procfile"
		if p.Line > 0 {
			where = fmt.Sprintf("Procfile line %d", p.Line)
		}
		lines = append(lines, where+": "+p.Message)
	}
	return strings.Join(lines, "\n")
}

var validName = regexp.MustCompile(`^[A-Za-z0-9]{1,24}$`)

// Parse reads a Procfile: lines "<name>: <command>", blank lines, and
// comments that begin with "#". A byte order mark and CRLF line ends are
// accepted.
//
// The warnings are for the user too; they are about lines without effect. A
// Procfile that breaks a rule gives an *Error and no entries; any other error
// comes from r.
func Parse(r io.Reader) (entries []Entry, warnings []string, err error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the Procfile: %w", err)
	}
	if err := checkText(data); err != nil {
		return nil, nil, err
	}

	p := parser{seen: map[string]Entry{}}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for i, line := range strings.Split(text, "\n") {
		p.line(i+1, line)
	}
	if len(p.entries) > MaxEntries {
		p.problem(0, "%d process types; at most %d are possible", len(p.entries), MaxEntries)
	}
	if len(p.entries) == 0 && len(p.problems) == 0 {
		p.problem(0, "no process type in it; add a line such as `web: ./server`")
	}
	if len(p.problems) > 0 {
		return nil, nil, &Error{Problems: p.problems}
	}
	return p.entries, p.warnings, nil
}

// checkText refuses what is not plain text of a sane size.
func checkText(data []byte) error {
	refuse := func(format string, args ...any) error {
		return &Error{Problems: []Problem{{Message: fmt.Sprintf(format, args...)}}}
	}
	switch {
	case len(data) > MaxSize:
		return refuse("larger than %d KiB; move long commands into scripts", MaxSize>>10)
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}), bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		return refuse("it is UTF-16 text; save it as UTF-8")
	case bytes.IndexByte(data, 0) >= 0:
		return refuse("it has a NUL byte; is it a text file?")
	case !utf8.Valid(data):
		return refuse("it is not UTF-8 text; save it as UTF-8")
	}
	return nil
}

type parser struct {
	entries  []Entry
	warnings []string
	problems []Problem
	seen     map[string]Entry // by lower-case name
}

func (p *parser) problem(line int, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
	}
}

// line reads one line of the file.
func (p *parser) line(number int, line string) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	if strings.ContainsFunc(line, isControl) {
		p.problem(number, "it has a control character; write the line anew")
		return
	}
	name, command, colon := strings.Cut(line, ":")
	name, command = strings.TrimSpace(name), strings.TrimSpace(command)
	if !colon {
		p.problem(number, "no colon in %s; write `<name>: <command>`, for instance `web: %s`", quote(line), shorten(line))
		return
	}
	if name == "release" {
		p.warnings = append(p.warnings, fmt.Sprintf("Procfile line %d: `release` is ignored; use `postdeploy` for a command to run after each deployment", number))
		return
	}
	if !validName.MatchString(name) {
		p.badName(number, name, command)
		return
	}
	if command == "" {
		p.problem(number, "`%s` has no command; write `%s: <command>` or remove the line", name, name)
		return
	}
	// DNS ignores case, so `Web` and `web` would share one private name.
	if first, twice := p.seen[strings.ToLower(name)]; twice {
		if first.Name == name {
			p.problem(number, "`%s` is already on line %d; keep one of the two lines", name, first.Line)
		} else {
			p.problem(number, "`%s` differs from `%s` on line %d only by case, and private DNS names ignore case; rename one", name, first.Name, first.Line)
		}
		return
	}
	entry := Entry{Name: name, Command: command, Line: number}
	p.seen[strings.ToLower(name)] = entry
	p.entries = append(p.entries, entry)
}

func (p *parser) badName(number int, name, command string) {
	const rule = "use 1 to 24 letters and digits, no dashes or underscores, because the name is part of private DNS names"
	if name == "" {
		p.problem(number, "no name before the colon; write `web: %s` or another name", shorten(command))
		return
	}
	suggestion := suggestName(name)
	if suggestion == "" {
		p.problem(number, "bad name %s; %s", quote(name), rule)
		return
	}
	p.problem(number, "bad name %s; %s. Did you mean `%s`?", quote(name), rule, suggestion)
}

// suggestName returns the valid name nearest to a bad one, or "".
func suggestName(name string) string {
	if strings.ContainsAny(name, " \t/$\"'=") {
		return "" // not a name at all, rather a command with a colon in it
	}
	kept := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, name)
	return kept[:min(len(kept), maxNameLength)]
}

func isControl(r rune) bool { return r != '\t' && (r < ' ' || r == 0x7F) }

func quote(s string) string { return "`" + shorten(s) + "`" }

// shorten keeps messages readable when a line is long.
func shorten(s string) string {
	const limit = 60
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit]) + "…"
}
