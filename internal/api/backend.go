package api

import (
	"context"
	"io"

	"github.com/atollhq/atoll/internal/oneoff"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// Control changes things. Its errors are *platform.Error when the user can
// mend them.
type Control interface {
	CreateProject(ctx context.Context, user platform.User, name string, isDefault bool) (platform.Project, error)
	UpdateProject(ctx context.Context, user platform.User, projectID string, name *string, makeDefault bool) (platform.Project, error)
	DeleteProject(ctx context.Context, user platform.User, projectID string) error

	// CreateApp adds an app; "" as project or stack means the default one.
	CreateApp(ctx context.Context, user platform.User, name, projectID, stackID string) (platform.App, error)
	RenameApp(ctx context.Context, user platform.User, appID, newName string) (platform.App, error)
	UpdateApp(ctx context.Context, user platform.User, appID string, changes store.AppChanges) (platform.App, error)
	DestroyApp(ctx context.Context, user platform.User, appID string) error

	// SetVariables adds or changes variables by name, all or none, and
	// returns them with their ids. Nothing is restarted.
	SetVariables(ctx context.Context, user platform.User, appID string, vars []platform.Variable) ([]platform.Variable, error)
	DeleteVariable(ctx context.Context, user platform.User, appID, variableID string) error

	// Scale changes Amount and Size of the process types named; a Size of ""
	// means the one it has. It returns the whole formation, and the operation
	// that carries it out, or nil when nothing runs that would change.
	// CodeInvalid for a process type the app does not have.
	Scale(ctx context.Context, user platform.User, appID string, changes []platform.ProcessType) ([]platform.ProcessType, *platform.Operation, error)
	// Restart replaces containers: of the process types ("web") and the
	// containers ("web-1") in scope, or all when it is empty.
	Restart(ctx context.Context, user platform.User, appID string, scope []string) (platform.Operation, error)

	// Kill sends SIGUSR1 or SIGUSR2 to a container of the app. CodeConflict
	// when it does not run.
	Kill(ctx context.Context, appID, containerID, signal string) error

	// Deploy queues the build of an uploaded source. gitRef may be "".
	Deploy(ctx context.Context, user platform.User, appID, gitRef, sourceID string) (platform.Deployment, error)
}

// OneOffs runs containers once.
type OneOffs interface {
	// Start records a one-off (Command, Size, Env, Detached are given) and
	// starts it when it is detached.
	Start(ctx context.Context, user platform.User, app platform.App, o platform.OneOff, a oneoff.Attached) (platform.OneOff, error)
	// Claim makes the caller the one client of a one-off that waits; Serve
	// must follow. CodeConflict when it does not wait.
	Claim(ctx context.Context, id string) (oneoff.Attached, error)
	// Serve runs it with its streams connected. It returns when the container
	// has ended and everything is written; the end of ctx ends it.
	Serve(ctx context.Context, id string, in io.Reader, out io.Writer) (platform.OneOff, error)
	Resize(ctx context.Context, id string, width, height int) error
	AddFile(ctx context.Context, id, name string, content io.Reader) error
	Wait(ctx context.Context, id string) (platform.OneOff, error)
	// Stop ends it; cause is told to the user.
	Stop(ctx context.Context, id, cause string, timedOut bool) error
}

// Store is read only, but for the use of tokens.
type Store interface {
	Ping(ctx context.Context) error
	// Secret returns the named secret of this installation.
	Secret(ctx context.Context, name string) ([]byte, error)

	UserByID(ctx context.Context, id string) (platform.User, error)
	// UserByLogin finds a user by username or email, with the password hash.
	UserByLogin(ctx context.Context, login string) (platform.User, string, error)
	// UserByToken finds the user of an API token; CodeUnauthorized if nobody's.
	UserByToken(ctx context.Context, secret string) (platform.User, error)
	CreateToken(ctx context.Context, userID, name string) (store.Token, string, error)
	Tokens(ctx context.Context, userID string) ([]store.Token, error)

	Projects(ctx context.Context, userID string) ([]platform.Project, error)
	Project(ctx context.Context, userID, id string) (platform.Project, error)
	ProjectByID(ctx context.Context, id string) (platform.Project, error)

	Apps(ctx context.Context, userID string) ([]platform.App, error)
	App(ctx context.Context, userID, nameOrID string) (platform.App, error)
	Formation(ctx context.Context, appID string) ([]platform.ProcessType, error)
	Variables(ctx context.Context, appID string) ([]platform.Variable, error)
	Operation(ctx context.Context, appID, id string) (platform.Operation, error)
	OneOff(ctx context.Context, id string) (platform.OneOff, error)
	OneOffOfOperation(ctx context.Context, operationID string) (platform.OneOff, error)
	Jobs(ctx context.Context, appID string) ([]platform.Job, error)

	Deployments(ctx context.Context, appID string, p store.Page) ([]platform.Deployment, int, error)
	Deployment(ctx context.Context, appID, id string) (platform.Deployment, error)

	AppEvents(ctx context.Context, appID string, p store.Page) ([]platform.Event, int, error)
	UserEvents(ctx context.Context, userID string, p store.Page) ([]platform.Event, int, error)

	Stacks(ctx context.Context) ([]store.Stack, error)
	StackByID(ctx context.Context, nameOrID string) (store.Stack, error)
}

// Deployments shows deployments while they run.
type Deployments interface {
	// Follow calls event, from one goroutine, for whatever happens to the
	// deployments of an app, until ctx ends or event fails; it returns that
	// error. kind is "new" (d is all that is known of it), "log" (text is
	// output of d.ID) or "status" (d.ID has d.Status now).
	//
	// It begins with a replay of the newest deployment: "new", its output so
	// far, its status. Without it, a client that connects after its POST
	// would wait for ever for the end of a quick build. Nothing may fall
	// between replay and live events.
	Follow(ctx context.Context, appID string, event func(kind string, d platform.Deployment, text string) error) error
	// Output returns all output of a deployment so far; fs.ErrNotExist when
	// there is none.
	Output(deploymentID string) (io.ReadCloser, error)
}

// Logs are the lines of an app's containers and of the platform about them,
// each "2006-01-02 15:04:05.999999999 +0000 UTC [label] text\n". A filter is
// a label, a process type, or several of them joined by "|"; "" is all.
type Logs interface {
	// Tail returns the last n lines that match, oldest first; nothing when
	// there are none.
	Tail(ctx context.Context, appID string, n int, filter string) ([]byte, error)
	// Follow calls fn with one or more whole lines as they come, from one
	// goroutine, until ctx ends or fn fails; it returns that error.
	Follow(ctx context.Context, appID, filter string, fn func(lines []byte) error) error
}

// Policies says who may reach whom inside the private networks. When a change
// returns without error, the next packet obeys; CodeUnavailable when it is
// saved but not obeyed yet.
type Policies interface {
	Policy(ctx context.Context, projectID string) (platform.Policy, error)
	SetMode(ctx context.Context, user platform.User, projectID string, mode platform.PolicyMode) error
	// AddRule adds a rule whose apps are named by name or id. CodeConflict
	// when it is there already.
	AddRule(ctx context.Context, user platform.User, projectID string, r platform.Rule) (platform.Rule, error)
	RemoveRule(ctx context.Context, user platform.User, projectID, ruleID string) error
}

// Traffic is what was counted inside the private networks.
type Traffic interface {
	Flows(ctx context.Context, network platform.PrivateNetwork) ([]platform.Flow, error)
	Drops(ctx context.Context, network platform.PrivateNetwork) ([]platform.Drop, error)
	// Follow calls fn, from one goroutine, with what had traffic since the
	// last call, counted since then, until ctx ends or fn fails; it returns
	// that error. The first call comes at once, with nothing.
	Follow(ctx context.Context, network platform.PrivateNetwork, fn func([]platform.Flow) error) error
}

// Refusals is what the policies refused, also what the network does not
// remember any more.
type Refusals interface {
	// List returns what the policy of a project as it is now refuses, the
	// latest first.
	List(ctx context.Context, project platform.Project) ([]platform.Refusal, error)
}

// Roster is the table of what runs.
type Roster interface {
	Snapshot() ([]platform.Instance, <-chan struct{})
}
