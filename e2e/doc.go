// Package e2e tests the whole platform from outside: the built programs, the
// command line, the HTTP API, the router and the names, on a real kernel with
// real containers. It knows nothing of the packages inside, except for
// internal/lab, which is the machine that it runs on. What the suites share is in
// e2e/rig; e2e/attack and e2e/chaos are suites of their own.
//
// One server serves all tests, in a laboratory of its own without a link to
// this machine's network. Tests run beside each other, each in projects and
// with apps of its own; those that kill the server come first, alone.
//
//	make e2e                                  # builds what is needed first
//	go test -count=1 ./e2e -run TestShop -v   # one of them
//
// It needs root, and skips everything without. Settings, all optional:
//
//	ATOLL_BIN   folder of the programs (default: ../bin, as `make build` fills it)
//	STACK_DIR   folder of the stack image (default: /var/lib/atoll-cache/stack)
//
// Everything that a run makes is removed at its end, also when tests fail. What
// a killed run leaves is removed at the start of the next one.
package e2e
