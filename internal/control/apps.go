package control

import (
	"context"
	"errors"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// CreateProject adds a project with its private network.
func (c *Control) CreateProject(ctx context.Context, user platform.User, name string, isDefault bool) (platform.Project, error) {
	return c.Store.CreateProject(ctx, user, name, isDefault)
}

// UpdateProject renames a project or makes it the default one.
func (c *Control) UpdateProject(ctx context.Context, user platform.User, projectID string, name *string, makeDefault bool) (platform.Project, error) {
	return c.Store.UpdateProject(ctx, user, projectID, name, makeDefault)
}

// DeleteProject removes an empty project and its policy.
func (c *Control) DeleteProject(ctx context.Context, user platform.User, projectID string) error {
	if err := c.Store.DeleteProject(ctx, user, projectID); err != nil {
		return err
	}
	if err := c.Policies.Apply(ctx); err != nil {
		// It is gone all the same; the policies are told again.
		c.Log.Error("Cannot remove the policy of a deleted project from the network", "project", projectID, "error", err)
	}
	return nil
}

// CreateApp adds an app; its public name answers at once (503 until there is
// a deployment).
func (c *Control) CreateApp(ctx context.Context, user platform.User, name, projectID, stackID string) (platform.App, error) {
	a, err := c.Store.CreateApp(ctx, user, name, projectID, stackID)
	if err == nil {
		c.Publish(a.ID)
	}
	return a, err
}

// RenameApp gives an app another name: the public name and the short private
// names follow, the long private names stay.
func (c *Control) RenameApp(ctx context.Context, user platform.User, appID, newName string) (platform.App, error) {
	a, err := c.Store.RenameApp(ctx, user, appID, newName)
	if err == nil {
		c.Publish(a.ID)
	}
	return a, err
}

// UpdateApp sets an app's switches. Those whose effect the router does not
// have yet cannot be switched on.
func (c *Control) UpdateApp(ctx context.Context, user platform.User, appID string, changes store.AppChanges) (platform.App, error) {
	on := func(b *bool) bool { return b != nil && *b }
	if on(changes.ForceHTTPS) {
		return platform.App{}, platform.Invalid("force_https", "cannot be switched on: this version serves HTTP only; put a TLS proxy in front of it and redirect there")
	}
	if on(changes.StickySession) {
		return platform.App{}, platform.Invalid("sticky_session", "cannot be switched on: this version has no sticky sessions; keep sessions in a store that all containers share")
	}
	a, err := c.Store.UpdateApp(ctx, user, appID, changes)
	if err == nil {
		c.Publish(appID)
	}
	return a, err
}

// DestroyApp stops an app's containers and forgets it. CodeConflict while it
// is being deployed, scaled or restarted.
func (c *Control) DestroyApp(ctx context.Context, user platform.User, appID string) error {
	if err := c.Store.DeleteApp(ctx, user, appID); err != nil {
		return err
	}
	c.Publish(appID)
	c.Pipeline.Forget(appID)
	// The app is gone whatever happens now; the next start removes what the
	// engine still holds.
	if err := errors.Join(c.EndOneOffs(ctx, appID), c.Reconciler.RemoveApp(ctx, appID), c.Policies.Apply(ctx), c.Forget(appID)); err != nil {
		c.Log.Error("Cannot remove everything of a destroyed app", "app", appID, "error", err)
	}
	return nil
}

// SetVariables adds or changes variables. Running containers keep theirs
// until they are replaced (CL-19).
func (c *Control) SetVariables(ctx context.Context, user platform.User, appID string, vars []platform.Variable) ([]platform.Variable, error) {
	out, err := c.Store.SetVariables(ctx, user, appID, vars)
	return out, errors.Join(err, c.reapply(ctx, appID, err))
}

// DeleteVariable removes a variable by id.
func (c *Control) DeleteVariable(ctx context.Context, user platform.User, appID, variableID string) error {
	err := c.Store.DeleteVariable(ctx, user, appID, variableID)
	return errors.Join(err, c.reapply(ctx, appID, err))
}

// Deploy queues a deployment of an uploaded source.
func (c *Control) Deploy(ctx context.Context, user platform.User, appID, gitRef, sourceID string) (platform.Deployment, error) {
	a, err := c.Store.AppByID(ctx, appID)
	if err != nil {
		return platform.Deployment{}, err
	}
	return c.Pipeline.Start(ctx, user, a, gitRef, sourceID)
}

// Private

// reapply tells the engine the environment that new containers get.
func (c *Control) reapply(ctx context.Context, appID string, err error) error {
	if err != nil {
		return nil
	}
	return c.Reconciler.Apply(ctx, appID)
}
