// Package server wires all roles of one machine into a process: store,
// control, deployment pipeline, engine, private and outside network,
// resolver, observer, router and API. It holds no logic of its own beyond the
// order in which things start and end.
package server
