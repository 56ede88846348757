package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// arguments makes the check of a command's arguments from their names as in
// its usage line: NAME is required, [NAME] is optional, NAME... takes one or
// more and [NAME]... any number.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		for i, name := range names {
			if !strings.HasPrefix(name, "[") && i >= len(args) {
				return usage("%s is missing", strings.TrimSuffix(name, "..."))
			}
		}
		open := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		if len(args) > len(names) && !open {
			return usage("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
