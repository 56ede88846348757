// Command attacker is the program of the attack suite: an app whose processes
// attack, are attacked, and measure, as e2e/attack tells them to.
//
//	attacker SOCKET
//
// It takes orders (package order) on a Unix socket and, when PORT or LISTEN
// says so, answers lines on TCP and UDP as a service would. It runs twice in
// an attacking container: once as the app's process, with what an app has, and
// once started by the suite in the container's network namespace with
// CAP_NET_RAW and CAP_NET_ADMIN.
//
// It refuses to start where there is no pn0: outside of a container, or of a
// laboratory's copy of one, nothing must ever be attacked.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/attack/order"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		slog.Error("The attack program ends", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: attacker SOCKET")
	}
	if _, err := net.InterfaceByName("pn0"); err != nil {
		return fmt.Errorf("there is no pn0 here (%w): this program only runs in a container of Atoll", err)
	}
	if port := cmp.Or(os.Getenv("LISTEN"), os.Getenv("PORT")); port != "" {
		if err := serve("0.0.0.0:" + port); err != nil {
			return fmt.Errorf("cannot serve on port %s: %w", port, err)
		}
	}
	if err := os.Remove(args[0]); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", args[0])
	if err != nil {
		return fmt.Errorf("cannot take orders: %w", err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("cannot take orders any more: %w", err)
		}
		go take(conn)
	}
}

// take carries out the order that comes in on a connection.
func take(conn net.Conn) {
	defer conn.Close()
	var o order.Order
	if err := json.NewDecoder(conn).Decode(&o); err != nil {
		slog.Error("Cannot read an order", "error", err)
		return
	}
	var out order.Outcome
	if err := carryOut(o, &out); err != nil {
		out.Error = name(err)
	}
	if err := json.NewEncoder(conn).Encode(out); err != nil {
		slog.Error("Cannot report", "error", err)
	}
}

func carryOut(o order.Order, out *order.Outcome) error {
	switch {
	case o.Raw != nil:
		return sendFrames(*o.Raw, out)
	case o.Packet != nil:
		return sendPackets(*o.Packet, out)
	case o.Configure != nil:
		return configure(*o.Configure)
	case o.Connect != nil:
		return connect(*o.Connect, out)
	case o.Datagram != nil:
		return sendDatagrams(*o.Datagram, out)
	case o.Ask != nil:
		return ask(*o.Ask, out)
	case o.Unix != nil:
		return connectUnix(*o.Unix, out)
	case o.Unshare != nil:
		return unshare()
	case o.Flood != nil:
		return flood(*o.Flood, out)
	case o.Load != nil:
		return load(*o.Load, out)
	case o.Heard != nil:
		out.Heard = takeHeard()
		return nil
	}
	return errors.New("the order says nothing")
}

// name is the name of an error's number, "EPERM", or its text without one.
func name(err error) string {
	var number unix.Errno
	if errors.As(err, &number) {
		return unix.ErrnoName(number)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "ETIMEDOUT"
	}
	return err.Error()
}
