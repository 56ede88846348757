// Package platform is the domain of Atoll: projects, apps, process types,
// formations, sizes, releases, deployments, workloads, instances, private
// networks, and the rules between them (what is public, which name means
// what, what a container's environment holds).
//
// It is pure: no I/O, no clock, no goroutines, and it imports nothing of
// ours. Everything else may import it.
package platform
