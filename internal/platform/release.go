package platform

import "time"

// Release is what a successful build made: an image and its process types.
type Release struct {
	ID           string
	AppID        string
	DeploymentID string
	// Image is the reference under which the engine knows the image.
	Image string
	// Commands maps process types to shell commands, from the Procfile or
	// the buildpack's defaults.
	Commands map[string]string
	// Version is CONTAINER_VERSION: the git ref given at deployment, else
	// the deployment's id.
	Version   string
	ImageSize int64
	CreatedAt time.Time
}

// DeploymentStatus is a state of a deployment (BU-26).
type DeploymentStatus string

// The states of a deployment, in order; the last six are final.
const (
	DeploymentQueued       DeploymentStatus = "queued"
	DeploymentBuilding     DeploymentStatus = "building"
	DeploymentPushing      DeploymentStatus = "pushing"
	DeploymentStarting     DeploymentStatus = "starting"
	DeploymentSuccess      DeploymentStatus = "success"
	DeploymentBuildError   DeploymentStatus = "build-error"
	DeploymentCrashedError DeploymentStatus = "crashed-error"
	DeploymentTimeoutError DeploymentStatus = "timeout-error"
	DeploymentHookError    DeploymentStatus = "hook-error"
	DeploymentAborted      DeploymentStatus = "aborted"
)

// Final reports whether the deployment is over.
func (s DeploymentStatus) Final() bool {
	switch s {
	case DeploymentQueued, DeploymentBuilding, DeploymentPushing, DeploymentStarting:
		return false
	}
	return true
}

// Deployment is one run of the pipeline.
type Deployment struct {
	ID     string
	AppID  string
	Status DeploymentStatus
	// GitRef is what the user gave as the version, may be "".
	GitRef string
	// SourceID is the uploaded archive it builds.
	SourceID  string
	PusherID  string
	Image     string
	ImageSize int64
	// Error says why it ended other than in success, for the user.
	Error string
	// PostdeployHook is the command of the release's hook, "" without one.
	PostdeployHook string
	CreatedAt      time.Time
	FinishedAt     time.Time
}
