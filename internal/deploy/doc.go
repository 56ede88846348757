// Package deploy is the deployment pipeline: queued, building, pushing,
// starting, then success or one of the error states (BU-26), with the live
// stream of each deployment.
//
// A deployment starts the new containers beside the old ones, waits until
// all of them are ready, runs the postdeploy hook, switches in one transaction, and only then stops
// the old ones (CL-14, CL-15). One that fails changes nothing of what runs.
// One that a killed process leaves behind is aborted at the next start.
//
// It imports platform, store, build, oneoff, reconcile and the engine's interfaces.
package deploy
