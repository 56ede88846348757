// Package engine declares what Atoll needs of the thing that runs
// containers: containerd on one machine, Kubernetes on many.
//
// An engine is told workloads (desired) and reports instances (what really
// runs) to a Sink, the roster. It never decides how many containers there
// should be, and knows nothing of deployments, routes or names. Every
// adapter must pass the conformance suite in enginetest.
//
// # Guarantees of an engine
//
//   - Apply and Remove are idempotent; repeating them after a crash of the
//     caller is safe.
//   - Containers outlive the process that holds the engine. After a restart
//     the engine reports every container that still runs, unchanged, and
//     notices those that died meanwhile.
//   - An instance is reported Draining before it gets SIGTERM, and stays so
//     for platform.DrainDelay when somebody could be connected to it.
//   - A process that ends unasked is started again: at once the first time,
//     then after 1 s, doubling to 60 s, with jitter.
//   - What is to run once (OneOffs) is started at most once, whatever dies in
//     between, and its end is kept until somebody has taken note of it.
package engine
