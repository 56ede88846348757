// Package rig is what the end-to-end suites stand on: a machine in a
// laboratory with the built programs on it, the client's commands, apps and
// containers as users see them, and the report of what was found.
//
// It uses only what users and operators have (programs, HTTP, DNS, the files
// of /proc), and nothing of the packages inside but internal/lab, which is the
// machine. Its functions fail the test that calls them.
package rig
