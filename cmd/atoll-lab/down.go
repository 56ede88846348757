package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/lab"
)

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down NAME",
		Short: "Remove a lab and everything that runs in it",
		Long: `Removes a lab: kills its processes (also forwarders), removes its control
groups, mounts, namespaces and folder. A lab that is not there is no error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := lab.Remove(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s is removed\n", args[0])
			return nil
		},
	}
}

func cleanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Remove the left-overs of killed runs",
		Long:  "Removes the labs whose owners are dead. Labs that are in use stay.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			removed, err := lab.CleanStale()
			for _, name := range removed {
				fmt.Fprintf(cmd.OutOrStdout(), "lab %s was a left-over and is removed\n", name)
			}
			return err
		},
	}
}
