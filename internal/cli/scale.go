package cli

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) scaleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scale [TYPE:AMOUNT[:SIZE]]...",
		Short: "Show or change how many containers run, and their size",
		Long: `Without arguments, show the formation: the process types of an app with amount,
size and command. With arguments, change it and wait until the containers run.

AMOUNT is 0 to 10, unless the operator set another limit; 0 stops the type. SIZE
is one of S, M, L, XL, 2XL and 3XL; without it the size stays. Types that are
not named stay as they are. An app that serves nothing to the outside is scaled
to web:0, also before its first deployment.

` + appHelp,
		Example: `  atoll scale
  atoll scale web:2 worker:1:L
  atoll scale web:0 -a shop-catalog
  atoll scale web:4 --no-wait`,
		Args: arguments("[TYPE]..."),
		RunE: t.scale,
	}
	t.addApp(cmd)
	addNoWait(cmd)
	addJSON(cmd)
	t.completeScale(cmd)
	return cmd
}

func (t *tool) scale(cmd *cobra.Command, args []string) error {
	wishes, err := parseScale(args)
	if err != nil {
		return err
	}
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	if len(wishes) == 0 {
		formation, err := c.Formation(cmd.Context(), app)
		if err != nil {
			return err
		}
		return t.printFormation(cmd, formation)
	}
	formation, operation, err := c.ScaleApp(cmd.Context(), app, wishes)
	if err != nil {
		return t.withKnownTypes(cmd, c, app, err)
	}
	if err := t.waitFor(cmd, c, app, operation, "scaling"); err != nil {
		return err
	}
	return t.printFormation(cmd, formation)
}

// parseScale reads TYPE:AMOUNT[:SIZE] arguments.
func parseScale(args []string) ([]client.Scale, error) {
	var wishes []client.Scale
	seen := map[string]bool{}
	for _, arg := range args {
		parts := strings.Split(arg, ":")
		if len(parts) != 2 && len(parts) != 3 {
			return nil, usage("%q is not of the form TYPE:AMOUNT or TYPE:AMOUNT:SIZE, like web:2 or worker:1:L", arg)
		}
		if err := platform.ValidateProcessType(parts[0]); err != nil {
			return nil, err
		}
		amount, err := strconv.Atoi(parts[1])
		if err != nil || amount < 0 || strings.HasPrefix(parts[1], "+") {
			return nil, usage("%q: the amount must be a number of containers, 0 or more, not %q", arg, parts[1])
		}
		size := ""
		if len(parts) == 3 {
			known, err := platform.SizeByName(strings.ToUpper(parts[2]))
			if err != nil {
				return nil, err
			}
			size = known.Name
		}
		if seen[parts[0]] {
			return nil, usage("%s is given twice", parts[0])
		}
		seen[parts[0]] = true
		wishes = append(wishes, client.Scale{Name: parts[0], Amount: amount, Size: size})
	}
	return wishes, nil
}

// withKnownTypes adds the process types there are to a refusal that may be
// about an unknown one.
func (t *tool) withKnownTypes(cmd *cobra.Command, c *client.Client, app string, err error) error {
	var answer *client.Error
	refused := errors.As(err, &answer) &&
		(answer.Status == http.StatusUnprocessableEntity || answer.Resource == "container_type")
	if !refused {
		return err
	}
	formation, listErr := c.Formation(cmd.Context(), app)
	if listErr != nil || len(formation) == 0 {
		return err
	}
	code := ExitUsage
	if answer.Status == http.StatusNotFound {
		code = ExitNotFound
	}
	return fail(code, "The formation is: "+formationText(formation), "%w", err)
}

func (t *tool) printFormation(cmd *cobra.Command, formation []client.ProcessType) error {
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(formation))
	}
	out := table{head: []string{"TYPE", "AMOUNT", "SIZE", "COMMAND"}}
	for _, p := range formation {
		out.add(p.Name, strconv.Itoa(p.Amount), p.Size, p.Command)
	}
	return out.print(cmd.OutOrStdout())
}
