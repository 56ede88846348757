// Package chaos tests what takes time or breaks things: rolling changes and
// crashes under load, and a network that is full.
//
//	make chaos                                      # all, with a table of figures
//	go test -count=1 ./e2e/chaos -run TestDrain -v  # one of them
//	go test -short ./e2e/chaos                      # without the full network
//
// Load comes from a container (the program in member), as real clients of the
// private network do: it asks the platform's resolver once a second, honours
// the TTL, and opens a connection for each request.
package chaos
