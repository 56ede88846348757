package resolver

import "strings"

// wireName spells a name as in DNS messages, in lower case: each label behind
// its size, and the empty label at the end. ok is false for a name that can't
// be in a message.
func wireName(name string) (wire string, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var b strings.Builder
	b.Grow(len(name) + 2)
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 {
			return "", false
		}
		b.WriteByte(byte(len(label)))
		b.WriteString(label)
	}
	b.WriteByte(0)
	return b.String(), b.Len() <= maxName
}
