package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/lab"
)

func upCommand() *cobra.Command {
	var records []string
	cmd := &cobra.Command{
		Use:   "up NAME",
		Short: "Make a lab, which stays until `atoll-lab down NAME`",
		Example: `  atoll-lab up demo
  atoll-lab up demo --record "*.shop.example. 60 IN A 203.0.113.2"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			program, err := os.Executable()
			if err != nil {
				return err
			}
			if err := lab.Up(cmd.Context(), name, lab.Options{Records: records}, exec.Command(program, "internet", name)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s is up: server %s, internet %s (DNS) and %s (HTTP)\n",
				name, lab.ServerAddr, lab.InternetAddr, lab.EchoAddr)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&records, "record", nil, "a DNS record that the internet knows, in zone-file form (repeatable)")
	return cmd
}

// internetCommand is what up leaves running.
func internetCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "internet NAME",
		Short:  "Answer on the internet of a lab (started by up)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.RunInternet(cmd.Context(), args[0])
		},
	}
}
