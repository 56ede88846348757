package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// flood does one thing until the time is over. What the kernel refuses on the
// way is part of it.
func flood(f order.Flood, out *order.Outcome) error {
	end := time.Now().Add(f.For)
	switch f.Kind {
	case order.Spin:
		for time.Now().Before(end) {
			out.Sent++
		}
		return nil
	case order.Flows:
		return floodFlows(f.Target, end, out)
	case order.Connections:
		return floodConnections(f.Target, end, out)
	case order.Neighbours:
		return floodNeighbours(f.Target, end, out)
	case order.Questions:
		return floodQuestions(f.Target, ".example.", end, out)
	case order.PrivateQuestions:
		return floodQuestions(f.Target, ".private-network.internal.", end, out)
	case order.StreamQuestions:
		return floodStreams(f.Target, end, out)
	}
	return fmt.Errorf("nothing is called %q", f.Kind)
}

// datagrams is a socket without the standard library's waiting in between.
func datagrams() (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("cannot open a socket: %w", err)
	}
	return fd, nil
}

func floodFlows(target string, end time.Time, out *order.Outcome) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	fd, err := datagrams()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sockaddr := unix.SockaddrInet4{Addr: to.Addr().As4()}
	for n := 0; time.Now().Before(end); n++ {
		sockaddr.Port = 1024 + n%60_000
		sockaddr.Addr[3] = to.Addr().As4()[3] + byte(n/60_000%100)
		if unix.Sendto(fd, []byte("flow"), unix.MSG_DONTWAIT, &sockaddr) == nil {
			out.Sent++
		}
	}
	return nil
}

func floodNeighbours(target string, end time.Time, out *order.Outcome) error {
	all, err := netip.ParsePrefix(target)
	if err != nil {
		return err
	}
	// What waits for a MAC stays in its socket's buffer: one holds some 250.
	var fds [64]int
	for i := range fds {
		if fds[i], err = datagrams(); err != nil {
			return err
		}
		defer unix.Close(fds[i])
	}
	to := all.Addr()
	for n := 0; time.Now().Before(end); n++ {
		if to = to.Next(); !all.Contains(to) {
			to = all.Addr().Next()
		}
		if unix.Sendto(fds[n%len(fds)], []byte("hello"), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.As4(), Port: 9}) == nil {
			out.Sent++
		}
	}
	return nil
}

func floodConnections(target string, end time.Time, out *order.Outcome) error {
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for time.Now().Before(end) {
		conn, err := net.DialTimeout("tcp4", target, 100*time.Millisecond)
		if err != nil {
			time.Sleep(time.Millisecond) // no more files, or no answer: go on trying
			continue
		}
		open = append(open, conn)
		out.Sent++
	}
	return nil
}

func floodQuestions(target, suffix string, end time.Time, out *order.Outcome) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	fd, err := datagrams()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sockaddr := unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	text := strings.ToLower(rand.Text())
	packed, err := new(dns.Msg).SetQuestion(text+suffix, dns.TypeA).Pack()
	if err != nil {
		return err
	}
	const name = 12 + 1 // after the header and the label's length
	for n := uint64(0); time.Now().Before(end); n++ {
		binary.BigEndian.PutUint16(packed, uint16(n))
		copy(packed[name:], fmt.Sprintf("%016x", n))
		if unix.Sendto(fd, packed, unix.MSG_DONTWAIT, &sockaddr) == nil {
			out.Sent++
		}
	}
	return nil
}

// streams are more connections than the resolver lets one container have.
const streams = 40

// floodStreams sends questions as fast as the connections take them, and reads
// the answers, which would stop them otherwise.
func floodStreams(target string, end time.Time, out *order.Outcome) error {
	packed, err := new(dns.Msg).SetQuestion(strings.ToLower(rand.Text())+".private-network.internal.", dns.TypeA).Pack()
	if err != nil {
		return err
	}
	const each = 200
	questions := bytes.Repeat(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...), each)
	var flood sync.WaitGroup
	var sent atomic.Int64
	for range streams {
		conn, err := dial(target)
		if err != nil {
			return err
		}
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
		flood.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		flood.Go(func() {
			defer conn.Close()
			for {
				if _, err := conn.Write(questions); err != nil {
					return
				}
				sent.Add(each)
			}
		})
	}
	flood.Wait()
	out.Sent = int(sent.Load())
	return nil
}
