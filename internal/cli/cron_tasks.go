package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) cronTasksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cron-tasks",
		Short: "List the scheduled tasks of an app",
		Long: `List the scheduled tasks of an app, as the file cron.json of its present version
has them, with the times of the last and of the next run. Schedules are in UTC;
the runs are shown in the time of this machine.

` + appHelp,
		Example: `  atoll cron-tasks
  atoll cron-tasks -a shop-gateway --json`,
		Args: arguments(),
		RunE: t.cronTasks,
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) cronTasks(cmd *cobra.Command, _ []string) error {
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	tasks, err := c.CronTasks(cmd.Context(), app)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(tasks))
	}
	if len(tasks) == 0 {
		note(cmd, "The app has no scheduled tasks; they come from the file cron.json.")
		return nil
	}
	out := table{head: []string{"SCHEDULE", "COMMAND", "SIZE", "LAST RUN", "NEXT RUN"}}
	for _, task := range tasks {
		words := strings.SplitN(task.Command, " ", 6)
		command := words[len(words)-1]
		out.add(strings.TrimSuffix(task.Command, " "+command), command, task.Size, when(task.LastRun), when(task.NextRun))
	}
	return out.print(cmd.OutOrStdout())
}
