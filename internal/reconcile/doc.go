// Package reconcile tells the engine what the store wants: it turns the
// workload rows of an app into the engine's workloads, and waits for the
// roster to show that they are ready.
//
// It never decides anything: rows are written by control and deploy. At a
// start it repeats every wish, and removes from the engine what no row wants
// any more. It imports platform, store, roster and the engine's interfaces.
package reconcile
