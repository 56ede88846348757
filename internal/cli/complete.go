package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

// completionTime is how long a person waits for a completion at most.
const completionTime = 2 * time.Second

// candidates lists what may stand at a place of the command line.
type candidates func(ctx context.Context, c *client.Client, cmd *cobra.Command) []string

// completeArgs completes the first max arguments of a command; max 0 means
// all. Errors show nothing: a completion must not write into a half-typed
// line.
func (t *tool) completeArgs(cmd *cobra.Command, max int, list candidates) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if max > 0 && len(args) >= max {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return t.suggest(cmd, list), cobra.ShellCompDirectiveNoFileComp
	}
}

func (t *tool) completeFlag(cmd *cobra.Command, flag string, list candidates) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return t.suggest(cmd, list), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag was not declared: a mistake in this package
	}
}

func (t *tool) suggest(cmd *cobra.Command, list candidates) []string {
	c, err := t.client(cmd)
	if err != nil {
		return nil
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTime)
	defer cancel()
	return list(ctx, c, cmd)
}

func (t *tool) appNames(ctx context.Context, c *client.Client, _ *cobra.Command) []string {
	apps, err := c.Apps(ctx)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(apps))
	for _, app := range apps {
		names = append(names, app.Name)
	}
	return names
}

func (t *tool) projectNames(ctx context.Context, c *client.Client, _ *cobra.Command) []string {
	projects, err := c.Projects(ctx)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(projects))
	for _, p := range projects {
		names = append(names, p.Name)
	}
	return names
}

func (t *tool) variableNames(ctx context.Context, c *client.Client, cmd *cobra.Command) []string {
	app, err := t.app(cmd, ".")
	if err != nil {
		return nil
	}
	vars, err := c.Variables(ctx, app, false)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(vars))
	for _, v := range vars {
		names = append(names, v.Name)
	}
	return names
}

func (t *tool) processTypes(ctx context.Context, c *client.Client, cmd *cobra.Command) []string {
	app, err := t.app(cmd, ".")
	if err != nil {
		return nil
	}
	formation, err := c.Formation(ctx, app)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(formation))
	for _, p := range formation {
		names = append(names, p.Name)
	}
	return names
}

// scopes are process types and containers, for restart and logs.
func (t *tool) scopes(ctx context.Context, c *client.Client, cmd *cobra.Command) []string {
	names := t.processTypes(ctx, c, cmd)
	app, err := t.app(cmd, ".")
	if err != nil {
		return names
	}
	containers, err := c.Containers(ctx, app)
	if err != nil {
		return names
	}
	for _, container := range containers {
		names = append(names, container.Label)
	}
	return names
}

// completeScale completes TYPE, then leaves the number to the person, then
// completes SIZE.
func (t *tool) completeScale(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		const noSpace = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		var names []string
		switch strings.Count(typed, ":") {
		case 0:
			for _, name := range t.suggest(cmd, t.processTypes) {
				names = append(names, name+":")
			}
			return names, noSpace
		case 2:
			front := typed[:strings.LastIndex(typed, ":")+1]
			for _, size := range platform.Sizes {
				names = append(names, front+size.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, noSpace
	}
}
