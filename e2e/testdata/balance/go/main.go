// Command client opens new connections by name, and prints whom each one
// reached: client HOST PORT COUNT.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

func main() {
	count, err := strconv.Atoi(os.Args[3])
	for range count {
		if err = reach(); err != nil {
			break
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func reach() error {
	conn, err := net.Dial("tcp", net.JoinHostPort(os.Args[1], os.Args[2]))
	if err != nil {
		return err
	}
	fmt.Println(conn.RemoteAddr().(*net.TCPAddr).IP)
	return conn.Close()
}
