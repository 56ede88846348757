package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) projectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "projects",
		Short: "List your projects",
		Long: `List your projects. A project groups apps and is the boundary of a private
network: apps of one project reach each other, those of different projects do
not. Subcommands create, show, rename and delete projects.`,
		Example: `  atoll projects
  atoll projects --json
  atoll projects create shop
  atoll projects show shop`,
		Args: arguments(),
		RunE: t.projects,
	}
	addJSON(cmd)
	cmd.AddCommand(t.projectCreateCommand(), t.projectShowCommand(), t.projectRenameCommand(), t.projectDeleteCommand())
	return cmd
}

func (t *tool) projects(cmd *cobra.Command, _ []string) error {
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	projects, err := c.Projects(cmd.Context())
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(projects))
	}
	out := table{head: []string{"NAME", "DEFAULT", "CREATED", "ID"}}
	for _, p := range projects {
		out.add(p.Name, yesNo(p.Default), when(p.CreatedAt), p.ID)
	}
	return out.print(cmd.OutOrStdout())
}

// findProject finds one of the user's projects by id or name.
func findProject(ctx context.Context, c *client.Client, idOrName string) (client.Project, error) {
	projects, err := c.Projects(ctx)
	if err != nil {
		return client.Project{}, err
	}
	for _, p := range projects {
		if p.ID == idOrName || p.Name == idOrName {
			return p, nil
		}
	}
	return client.Project{}, fail(ExitNotFound, "`atoll projects` lists your projects.", "you have no project %q", idOrName)
}
