// Package roster is the live table of what runs now: every container of this
// node with its addresses, its state and the ports it listens on.
//
// The engine writes instances (Put, Delete), the node's observer writes
// observations (Observe); nobody else writes. Router, resolver, ps and
// registry are views that read a snapshot and follow it; none keeps a second
// truth. The table is rebuilt from the engine at every start and is not
// durable. It imports platform and live only.
package roster
