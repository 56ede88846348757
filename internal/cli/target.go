package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

// linkFile names the app of a folder and everything below it.
const linkFile = ".atoll"

const appHelp = `The app is chosen by --app, else by ATOLL_APP, else by the file .atoll in
this folder or one above it (` + "`atoll create --link`" + ` writes one).`

func (t *tool) addApp(cmd *cobra.Command) {
	cmd.Flags().StringP("app", "a", "", "name or id of the app (else ATOLL_APP, else the file .atoll)")
	t.completeFlag(cmd, "app", t.appNames)
}

// app says which app a command is about; the file .atoll is looked for from
// dir upwards.
func (t *tool) app(cmd *cobra.Command, dir string) (string, error) {
	if flag, err := cmd.Flags().GetString("app"); err != nil || flag != "" {
		return flag, err
	}
	if cmd.Flags().Changed("app") {
		return "", usage("--app is empty")
	}
	if name := t.getenv("ATOLL_APP"); name != "" {
		return name, nil
	}
	_, name, err := findLink(dir)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", fail(ExitUsage, "Name it with --app NAME or ATOLL_APP, or link this folder with `atoll create NAME --link`. `atoll apps` lists your apps.", "%w", errNoApp)
	}
	return name, nil
}

var errNoApp = errors.New("no app is chosen")

// findLink looks for the link file from dir upwards and returns its path and
// the app in it; both are "" when there is none.
func findLink(dir string) (path, name string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", "", fmt.Errorf("cannot find this folder: %w", err)
	}
	for {
		path = filepath.Join(dir, linkFile)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			name, err := readLink(path)
			return path, name, err
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", "", fmt.Errorf("cannot look for the app of this folder: %w", err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", "", nil
		}
		dir = parent
	}
}

func readLink(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the app of this folder: %w", err)
	}
	name := strings.TrimSpace(string(content))
	if !strings.HasPrefix(name, "ap-") && platform.ValidateAppName(name) != nil {
		return "", usage("the file %s must hold the name of an app and nothing else; write it anew or remove it", path)
	}
	return name, nil
}

func writeLink(path, name string) error {
	if err := os.WriteFile(path, []byte(name+"\n"), 0o644); err != nil {
		return fmt.Errorf("cannot link the folder to the app: %w", err)
	}
	return nil
}

// appOption is how to name the app in advice to the person: "" when it would
// be found without a word.
func (t *tool) appOption(cmd *cobra.Command, name string) string {
	if cmd.Flags().Changed("app") {
		return " -a " + name
	}
	return ""
}
