// Command member is what runs in the containers of the chaos tests, as a
// static program without anything else.
//
//	member serve                  answer HTTP on the private name, port 3000
//	member load NAME RATE EVERY   send RATE requests each second to NAME, port
//	                              3000, asking for the name every EVERY
//	member reach N SUFFIX         connect to 1.SUFFIX to N.SUFFIX, port 3000
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// port is where members serve and are asked.
const port = "3000"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(net.JoinHostPort(os.Getenv("SCALINGO_PRIVATE_HOSTNAME"), port))
	case len(args) == 4 && args[0] == "load":
		rate, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		every, err := time.ParseDuration(args[3])
		if err != nil {
			return err
		}
		return load(args[1], rate, every)
	}
	if len(args) == 3 && args[0] == "reach" {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return reach(n, args[2])
	}
	return fmt.Errorf("usage: member serve | load NAME RATE EVERY | reach N SUFFIX (got %q)", args)
}
