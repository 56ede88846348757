package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// atOnce is how many connections are tried at the same time.
const atOnce = 200

// connect tries all targets, as any program could.
func connect(c order.Connect, out *order.Outcome) error {
	d := net.Dialer{Timeout: c.Wait, Control: bindTo("", nil)}
	if c.From != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.From)}
	}
	out.Results = each(c.Targets, func(target string) string {
		conn, err := d.DialContext(context.Background(), "tcp4", target)
		if err != nil {
			return name(err)
		}
		defer conn.Close()
		return hear(conn, c.Text, c.Wait)
	})
	out.Sent = len(c.Targets)
	return nil
}

// hear says text on a connection and returns what comes back.
func hear(conn net.Conn, text string, wait time.Duration) string {
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return name(err)
	}
	if _, err := fmt.Fprintln(conn, text); err != nil {
		return "connected"
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	if err != nil {
		return "connected"
	}
	return "answer: " + string(answer[:n])
}

// each does something for all targets, many at once.
func each(targets []string, do func(string) string) map[string]string {
	var mu sync.Mutex
	results := make(map[string]string, len(targets))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, target := range targets {
		group.Go(func() error {
			result := do(target)
			mu.Lock()
			defer mu.Unlock()
			results[target] = result
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	return results
}

// sendDatagrams sends to all targets and waits for answers of any of them.
func sendDatagrams(d order.Datagram, out *order.Outcome) error {
	config := net.ListenConfig{Control: bindTo(d.Link, d.Options)}
	conn, err := config.ListenPacket(context.Background(), "udp4", net.JoinHostPort(d.From, strconv.Itoa(d.Port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	out.Results = map[string]string{}
	for _, target := range d.Targets {
		to, err := net.ResolveUDPAddr("udp4", target)
		if err != nil {
			return err
		}
		for range max(d.Times, 1) {
			if _, err := conn.WriteTo(append(d.Head, d.Text...), to); err != nil {
				out.Results[target] = name(err)
			} else {
				out.Sent++
			}
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(d.Wait)); err != nil {
		return err
	}
	answer := make([]byte, 2048)
	for d.Wait > 0 {
		n, from, err := conn.ReadFrom(answer)
		if err != nil {
			break // the time is over
		}
		out.Results[from.String()] = "answer: " + string(answer[:n])
	}
	return nil
}

// bindTo prepares a socket: any destination is allowed, by one interface and
// with IP options if they are given.
func bindTo(link string, options []byte) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			if err == nil && link != "" {
				err = unix.BindToDevice(int(fd), link)
			}
			if err == nil && len(options) > 0 {
				err = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, string(options))
			}
		})
		if ctlErr != nil {
			return ctlErr
		}
		return err
	}
}

// connectUnix tries sockets of the machine: by path, and the abstract ones
// that /proc shows.
func connectUnix(u order.Unix, out *order.Outcome) error {
	targets := u.Paths
	abstract, err := os.Open("/proc/net/unix")
	if err != nil {
		return err
	}
	defer abstract.Close()
	for lines := bufio.NewScanner(abstract); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if path := fields[len(fields)-1]; strings.HasPrefix(path, "@") {
			targets = append(targets, path)
		}
	}
	out.Results = each(targets, func(path string) string {
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			return name(err)
		}
		conn.Close()
		return "connected"
	})
	return nil
}
