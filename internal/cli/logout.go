package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func (t *tool) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the stored login",
		Long: `Forget the stored login. The API token itself stays valid: a copy of it
elsewhere goes on working.`,
		Example: `  atoll logout`,
		Args:    arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := t.accountPath()
			if err != nil {
				return err
			}
			err = os.Remove(path)
			if errors.Is(err, fs.ErrNotExist) {
				note(cmd, "You were not logged in.")
				return nil
			}
			if err != nil {
				return fmt.Errorf("cannot log out: %w", err)
			}
			note(cmd, "Logged out.")
			return nil
		},
	}
}
