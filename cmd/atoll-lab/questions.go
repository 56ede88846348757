package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/lab"
)

func questionsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "questions NAME",
		Short: "List the DNS questions that reached the lab's internet",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(args[0])
			if err != nil {
				return err
			}
			questions, err := l.UpstreamQuestions()
			if err != nil {
				return err
			}
			if asJSON {
				if questions == nil {
					questions = []lab.Question{}
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(questions)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, q := range questions {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", q.Time.Format("15:04:05.000"), q.From, q.Network, q.Type, q.Name)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
