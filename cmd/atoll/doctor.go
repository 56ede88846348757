package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/doctor"
	"github.com/atollhq/atoll/internal/server"
)

var _ cli.Machine = machineDoctor

// machineDoctor examines this machine as a server with the same settings
// would find it.
func machineDoctor(cmd *cobra.Command) func() error {
	read := configFlags(cmd)
	return func() error {
		cfg, err := read()
		if err != nil {
			return err
		}
		results := doctor.Examine(cmd.Context(), server.Examination(cfg))
		if inJSON, err := cmd.Flags().GetBool("json"); err == nil && inJSON {
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			out.SetEscapeHTML(false)
			if err := out.Encode(results); err != nil {
				return err
			}
		} else if err := doctor.Print(cmd.OutOrStdout(), results); err != nil {
			return err
		}
		if n := len(doctor.With(results, doctor.Failure)); n > 0 {
			return fmt.Errorf("%d of %d checks failed; what to do is said beside each", n, len(results))
		}
		return nil
	}
}
