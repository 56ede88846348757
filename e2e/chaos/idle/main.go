// Command idle is the smallest member of a private network: it listens on port
// 3000, tells whoever connects which container it is, and has next to no memory
// of its own. A thousand of them run beside each other.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

func main() {
	debug.SetGCPercent(-1) // nothing is allocated once it listens
	runtime.GOMAXPROCS(1)
	if err := serve([]byte(os.Getenv("CONTAINER") + "\n")); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

// serve uses system calls alone: the packages for it are larger than the rest.
func serve(greeting []byte) error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socket: %w", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Port: 3000}); err != nil {
		return fmt.Errorf("cannot bind to port 3000: %w", err)
	}
	if err := syscall.Listen(socket, 16); err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	for {
		conn, _, err := syscall.Accept4(socket, syscall.SOCK_CLOEXEC)
		switch err {
		case nil:
		case syscall.EINTR, syscall.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("cannot accept: %w", err)
		}
		_, _ = syscall.Write(conn, greeting) // the client notices
		syscall.Close(conn)
	}
}
