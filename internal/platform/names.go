package platform

import (
	"strconv"
	"strings"
)

// PrivateZone is the zone that is never forwarded outside; the long names
// live in private-network.internal below it (PN-19).
const PrivateZone = "internal."

const longSuffix = "private-network.internal."

// PrivateName is a name inside a private network, long or short:
//
//	[<n>.][<type>.]<app id>.<network id>.private-network.internal.
//	[<n>.][<type>.]<app name>.internal.
type PrivateName struct {
	// Number is the container, 0 for all of the type.
	Number int
	// Type is "" when not given, which means web (PN-20).
	Type string
	// AppID and NetworkID are set for the long form, AppName for the short.
	AppID     string
	NetworkID string
	AppName   string
}

// String returns the name with its final dot.
func (n PrivateName) String() string {
	var b strings.Builder
	if n.Number > 0 {
		b.WriteString(strconv.Itoa(n.Number) + ".")
	}
	if n.Type != "" {
		b.WriteString(n.Type + ".")
	}
	if n.AppName != "" {
		return b.String() + n.AppName + "." + PrivateZone
	}
	return b.String() + n.AppID + "." + n.NetworkID + "." + longSuffix
}

// ServiceType is the process type the name stands for.
func (n PrivateName) ServiceType() string {
	if n.Type == "" {
		return TypeWeb
	}
	return n.Type
}

// InPrivateZone reports whether a name (any case, with or without the final
// dot) is "internal" or below it.
func InPrivateZone(name string) bool {
	name = canonical(name)
	return name == PrivateZone || strings.HasSuffix(name, "."+PrivateZone)
}

// ParsePrivateName reads a long or short name, in any case, with or without
// the final dot. ok is false for what can be no container's name. Type is
// returned in lower case: DNS does not keep case, so two process types of an
// app that differ in case only share their names.
func ParsePrivateName(name string) (n PrivateName, ok bool) {
	name = canonical(name)
	if rest, found := strings.CutSuffix(name, "."+longSuffix); found {
		labels := strings.Split(rest, ".")
		if len(labels) < 2 {
			return n, false
		}
		n.NetworkID, n.AppID = labels[len(labels)-1], labels[len(labels)-2]
		return n.withHead(labels[:len(labels)-2])
	}
	rest, found := strings.CutSuffix(name, "."+PrivateZone)
	if !found || rest == "private-network" || rest == "" {
		return n, false
	}
	labels := strings.Split(rest, ".")
	n.AppName = labels[len(labels)-1]
	return n.withHead(labels[:len(labels)-1])
}

// withHead reads the labels before the app: none, type, or number and type.
func (n PrivateName) withHead(labels []string) (PrivateName, bool) {
	switch len(labels) {
	case 0:
		return n, true
	case 1:
		n.Type = labels[0]
	case 2:
		number, err := strconv.Atoi(labels[0])
		if err != nil || number < 1 || labels[0][0] == '0' || labels[0][0] == '+' {
			return n, false
		}
		n.Number, n.Type = number, labels[1]
	default:
		return n, false
	}
	if n.Type != TypeOneOff && !processTypeName.MatchString(n.Type) {
		return n, false
	}
	return n, true
}

func canonical(name string) string {
	name = strings.ToLower(name)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}
