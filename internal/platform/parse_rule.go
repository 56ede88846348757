package platform

import "strings"

// ruleForm is what a rule looks like, for errors.
const ruleForm = "write it as APP:TYPE -> APP:TYPE PORT, for example \"shop-web:web -> catalog:api 3000/tcp\""

// ParseRule reads a rule as people write it:
//
//	APP:TYPE -> APP:TYPE PORT
//
// APP is the name or id of an app, TYPE a process type (or one-off, cron,
// postdeploy); each may be *, and a lone * is *:*. PORT is as ParseService
// reads it. It is CodeInvalid with field "rule" when it cannot be read.
func ParseRule(text string) (Rule, error) {
	var r Rule
	from, rest, found := strings.Cut(text, "->")
	words := strings.Fields(rest)
	switch {
	case !found:
		return r, Invalid("rule", "%q has no arrow; %s", text, ruleForm)
	case strings.Contains(rest, "->"):
		return r, Invalid("rule", "%q has more than one arrow; %s, one rule at a time", text, ruleForm)
	case len(strings.Fields(from)) != 1 || len(words) == 0:
		return r, Invalid("rule", "%q must have one APP:TYPE at either side of the arrow; %s", text, ruleForm)
	case len(words) == 1:
		return r, Invalid("rule", "%q has no port at its end; %s, or * for every port", text, ruleForm)
	case len(words) > 2:
		return r, Invalid("rule", "%q goes on behind the port with %q; %s", text, words[2], ruleForm)
	}
	var err error
	if r.From, err = parseParty(strings.TrimSpace(from)); err != nil {
		return Rule{}, err
	}
	if r.To, err = parseParty(words[0]); err != nil {
		return Rule{}, err
	}
	if r.Service, err = ParseService(words[1]); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// Private

func parseParty(text string) (Party, error) {
	var p Party
	if text == "*" {
		return p, nil
	}
	app, kind, found := strings.Cut(text, ":")
	if !found {
		return p, Invalid("rule", "%q names no process type: write %s:TYPE, or %s:* for every type of the app", text, text, text)
	}
	if app != "*" {
		if err := ValidateAppName(app); err != nil {
			return p, Invalid("rule", "%q: %q is no name of an app (6 to 48 lower-case letters, digits and single hyphens); use one, or * for every app", text, app)
		}
		p.App = app
	}
	if kind != "*" {
		if kind != TypeOneOff && !processTypeName.MatchString(kind) {
			return Party{}, Invalid("rule", "%q: %q is no process type (1 to 24 letters and digits); use one, or * for every type", text, kind)
		}
		p.Type = kind
	}
	return p, nil
}
