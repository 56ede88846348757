// Package enginetest is the conformance suite of engines: what package
// engine promises, as tests that every adapter must pass. It also makes the
// small image that they run, from the machine's own bash and a program that
// looks at its container from inside (folder probe).
//
// It imports platform, engine and roster, and is imported by tests only.
package enginetest
