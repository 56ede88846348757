// Package build turns a source archive into an image: it unpacks the
// archive, runs a buildpack in a build container (classic buildpack API:
// bin/detect, bin/compile, bin/release), and lays the result as one layer on
// the stack's run image.
//
// The build container has the outside network, to fetch dependencies, and is
// a member of no private network (architecture, decision 8). Nothing of a
// failed build stays but the app's build cache.
//
// It imports platform, source, procfile, engine's interfaces and the built-in
// buildpacks; it knows nothing of deployments, the store or what runs.
package build
