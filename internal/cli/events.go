package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to an app",
		Long: `Show what happened to an app, newest first: who deployed, scaled, restarted or
changed it. With --all, the events of everything you own.

` + appHelp,
		Example: `  atoll events
  atoll events --page 2 --per-page 50
  atoll events --all --json`,
		Args: arguments(),
		RunE: t.events,
	}
	t.addApp(cmd)
	cmd.Flags().Bool("all", false, "events of all apps and projects and of your account")
	addPages(cmd, 30)
	addJSON(cmd)
	cmd.MarkFlagsMutuallyExclusive("app", "all")
	return cmd
}

func (t *tool) events(cmd *cobra.Command, _ []string) error {
	all, err := cmd.Flags().GetBool("all")
	if err != nil {
		return err
	}
	page, err := pageFlags(cmd)
	if err != nil {
		return err
	}
	app := ""
	if !all {
		if app, err = t.app(cmd, "."); err != nil {
			return err
		}
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	events, meta, err := c.Events(cmd.Context(), app, page)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(events))
	}
	out := table{head: []string{"TIME", "EVENT", "ON", "BY", "DETAILS"}}
	for _, e := range events {
		on := e.AppName
		if on == "" {
			on = e.ProjectName
		}
		out.add(when(e.CreatedAt), e.Type, on, e.User.Username, details(e))
	}
	if err := out.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	notePages(cmd, meta)
	return nil
}

// details shows the data of an event as key=value, keys in order. Kinds of
// events that this version does not know are shown as well as the others.
func details(e client.Event) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		switch value := e.Data[key].(type) {
		case nil:
		case string:
			if value != "" {
				parts = append(parts, key+"="+oneLine(value))
			}
		case bool, float64:
			parts = append(parts, fmt.Sprintf("%s=%v", key, value))
		default:
			if text, err := json.Marshal(value); err == nil {
				parts = append(parts, key+"="+oneLine(string(text)))
			}
		}
	}
	return strings.Join(parts, " ")
}

// oneLine keeps a cell of a table on its line, and the line bearable.
func oneLine(text string) string {
	const most = 60
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
