package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func addPages(cmd *cobra.Command, perPage int) {
	cmd.Flags().Int("page", 1, "page to show")
	cmd.Flags().Int("per-page", perPage, "lines of a page")
}

func pageFlags(cmd *cobra.Command) (client.Page, error) {
	number, err := cmd.Flags().GetInt("page")
	if err != nil {
		return client.Page{}, err
	}
	size, err := cmd.Flags().GetInt("per-page")
	if err != nil {
		return client.Page{}, err
	}
	if number < 1 || size < 1 {
		return client.Page{}, usage("--page and --per-page must be at least 1")
	}
	return client.Page{Number: number, Size: size}, nil
}

// notePages says that there is more than what was shown.
func notePages(cmd *cobra.Command, p client.Pagination) {
	if p.TotalPages > 1 {
		note(cmd, "Page %d of %d; --page shows others.", p.Page, p.TotalPages)
	}
}
