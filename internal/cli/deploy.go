package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) deployCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Deploy a folder",
		Long: `Pack a folder (the current one by default), upload it, and show how it is built
and started, until the new version runs or the deployment fails. What .gitignore
and .slugignore name is left out.

The output of the build and the states go to stdout, progress and remarks to
stderr; with --json the output goes to stderr as well and stdout is the finished
deployment. Ctrl-C stops following; the deployment itself goes on.

The exit code is 6 when the deployment ended in anything but success; the former
version runs on then.

The file .atoll is looked for in DIR and above it.

` + appHelp,
		Example: `  atoll deploy
  atoll deploy examples/shop/gateway -a shop-gateway
  atoll deploy --ref "$(git rev-parse HEAD)"
  atoll deploy --no-follow --json`,
		Args: arguments("[DIR]"),
		RunE: t.deploy,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	t.addApp(cmd)
	cmd.Flags().String("ref", "", "version to show for it, a commit for instance (CONTAINER_VERSION in containers)")
	cmd.Flags().Bool("no-follow", false, "start the deployment and do not follow it")
	addJSON(cmd)
	return cmd
}

func (t *tool) deploy(cmd *cobra.Command, args []string) error {
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	if err := checkFolder(dir); err != nil {
		return err
	}
	ref, err := cmd.Flags().GetString("ref")
	if err != nil {
		return err
	}
	noFollow, err := cmd.Flags().GetBool("no-follow")
	if err != nil {
		return err
	}
	name, err := t.app(cmd, dir)
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	// First of all, so that a wrong name or token costs no upload.
	app, err := c.App(cmd.Context(), name)
	if err != nil {
		return err
	}
	source, err := t.upload(cmd, c, dir)
	if err != nil {
		return interrupted(cmd, err, "nothing was deployed")
	}
	deployment, err := c.CreateDeployment(cmd.Context(), app.Name, source, ref)
	if err != nil {
		return interrupted(cmd, err, "the deployment may have been started: see `atoll deployments -a "+app.Name+"`")
	}
	if noFollow {
		if wantsJSON(cmd) {
			return printJSON(cmd.OutOrStdout(), deployment)
		}
		note(cmd, "The deployment %s was started; `atoll deployments follow %s -a %s` follows it.", deployment.ID, deployment.ID, app.Name)
		return nil
	}
	return t.follow(cmd, c, app, deployment)
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return usage("cannot deploy %s: %w", dir, err)
	}
	if !info.IsDir() {
		return usage("cannot deploy %s: it is not a folder", dir)
	}
	return nil
}

// interrupted turns the end of the command's context into an error that says
// what that means for the deployment.
func interrupted(cmd *cobra.Command, err error, meaning string) error {
	if cmd.Context().Err() == nil {
		return err
	}
	return fail(ExitInterrupted, "", "interrupted; %s", meaning)
}

// upload packs dir into a temporary file, because the server wants to know
// the size first, and sends it.
func (t *tool) upload(cmd *cobra.Command, c *client.Client, dir string) (client.Source, error) {
	archive, err := os.CreateTemp("", "atoll-source-*.tar.gz")
	if err != nil {
		return client.Source{}, fmt.Errorf("cannot pack the folder: %w", err)
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	note(cmd, "Packing %s ...", folderName(dir))
	files, err := t.pack(cmd.Context(), dir, archive)
	if err != nil {
		return client.Source{}, fmt.Errorf("cannot pack the folder: %w", err)
	}
	size, err := archive.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = archive.Seek(0, io.SeekStart)
	}
	if err != nil {
		return client.Source{}, fmt.Errorf("cannot pack the folder: %w", err)
	}
	note(cmd, "Packed %s into %s.", count(files, "file", "files"), bytesText(size))
	source, err := c.CreateSource(cmd.Context())
	if err != nil {
		return client.Source{}, err
	}
	shown := t.progress(cmd, archive, size)
	err = c.Upload(cmd.Context(), source, shown, size)
	shown.end(err == nil)
	return source, err
}

func folderName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// follow shows a deployment until it is over and turns its end into the end
// of the command.
func (t *tool) follow(cmd *cobra.Command, c *client.Client, app client.App, d client.Deployment) error {
	view := t.deploymentView(cmd)
	view.showStatus(d.Status)
	final, err := c.FollowDeployment(cmd.Context(), app.Links.DeploymentsStream, app.Name, d.ID, client.Follower{
		Log:    view.showLog,
		Status: view.showStatus,
		Notice: func(text string) { note(cmd, "%s", text) },
	})
	if cmd.Context().Err() == context.Canceled {
		return fail(ExitInterrupted, fmt.Sprintf("Follow it again with `atoll deployments follow %s -a %s`.", d.ID, app.Name),
			"stopped following; the deployment goes on")
	}
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		if err := printJSON(cmd.OutOrStdout(), final); err != nil {
			return err
		}
	}
	if !final.Succeeded() {
		return deploymentFailure(app.Name, final)
	}
	if !wantsJSON(cmd) {
		fmt.Fprintf(cmd.OutOrStdout(), "\nDeployed %s in %d s: %s\n", app.Name, final.Duration, app.URL)
	}
	return nil
}

// deploymentFailure says what a final status other than success means, and
// what to look at.
func deploymentFailure(app string, d client.Deployment) error {
	reason, hint := "it ended as "+d.Status, ""
	switch d.Status {
	case "build-error":
		reason = "the build failed"
		hint = fmt.Sprintf("The output above says why; `atoll deployments logs %s -a %s` shows it again.", d.ID, app)
	case "crashed-error":
		reason = "a container ended while it started"
		hint = fmt.Sprintf("`atoll logs -n 100 -a %s` shows what it said.", app)
	case "timeout-error":
		reason = "web or tcp did not accept connections on $PORT in time"
		hint = fmt.Sprintf("Listen on 0.0.0.0:$PORT; if the app serves nothing to the outside, run `atoll scale web:0 -a %s` and deploy again.", app)
	case "hook-error":
		reason = "the postdeploy hook failed"
		hint = fmt.Sprintf("`atoll logs -n 100 -F postdeploy -a %s` shows what it said.", app)
	case "aborted":
		reason = "it was aborted before it began"
	}
	if d.Error != "" {
		reason = d.Error
	}
	return fail(ExitDeployment, hint, "the deployment failed (%s): %s", d.Status, reason)
}
