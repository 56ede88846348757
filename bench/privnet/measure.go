package main

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// figures of one measurement: times in microseconds, packets per second.
type figures struct {
	rtt, rttCPU float64
	udp, udpCPU float64
}

const port = 7777

func measure(p path, length time.Duration) (figures, error) {
	var f figures
	var err error
	if f.rtt, f.rttCPU, err = roundTrips(p, length); err != nil {
		return f, fmt.Errorf("round trip: %w", err)
	}
	if f.udp, f.udpCPU, err = datagrams(p, length); err != nil {
		return f, fmt.Errorf("UDP: %w", err)
	}
	return f, nil
}

// roundTrips bounces one byte over TCP. Both ends share a core: waking
// another one costs more than every path here and would hide it.
func roundTrips(p path, length time.Duration) (p50, cpu float64, err error) {
	l, err := socket(p.b, unix.SOCK_STREAM, func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, at(addrB)), unix.Listen(fd, 1))
	})
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(l)
	served := make(chan error, 1)
	var serverCPU time.Duration
	go func() {
		served <- locked(func() error {
			pin(0)
			fd, _, err := unix.Accept(l)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := tune(fd); err != nil {
				return err
			}
			before := threadCPU()
			b := make([]byte, 1)
			for {
				if n, err := unix.Read(fd, b); n <= 0 {
					serverCPU = threadCPU() - before
					return err
				}
				if _, err := unix.Write(fd, b); err != nil {
					return err
				}
			}
		})
	}()
	var times []float64
	var clientCPU time.Duration
	err = locked(func() error {
		pin(0)
		c, err := socket(p.a, unix.SOCK_STREAM, func(fd int) error { return unix.Connect(fd, at(addrB)) })
		if err != nil {
			return err
		}
		defer unix.Close(c)
		if err := tune(c); err != nil {
			return err
		}
		b := make([]byte, 1)
		before, end := threadCPU(), time.Now().Add(length)
		for now := time.Now(); now.Before(end); {
			if _, err := unix.Write(c, b); err != nil {
				return err
			}
			if _, err := unix.Read(c, b); err != nil {
				return err
			}
			next := time.Now()
			times = append(times, float64(next.Sub(now).Nanoseconds())/1e3)
			now = next
		}
		clientCPU = threadCPU() - before
		return nil
	})
	if err := errors.Join(err, <-served); err != nil {
		return 0, 0, err
	}
	slices.Sort(times)
	return times[len(times)/2], micros(clientCPU+serverCPU) / float64(len(times)), nil
}

// datagrams floods 64-byte datagrams from core 0 to a receiver on core 1.
func datagrams(p path, length time.Duration) (perSecond, cpu float64, err error) {
	r, err := socket(p.b, unix.SOCK_DGRAM, func(fd int) error {
		timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout), unix.Bind(fd, at(addrB)))
	})
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(r)
	var over atomic.Bool
	var received int
	var receiverCPU, senderCPU time.Duration
	done := make(chan error, 1)
	go func() {
		done <- locked(func() error {
			pin(1)
			before := threadCPU()
			b := make([]byte, 128)
			for {
				n, err := unix.Read(r, b)
				switch {
				case n > 0:
					received++
				case over.Load():
					receiverCPU = threadCPU() - before
					return nil
				case err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
					return err
				}
			}
		})
	}()
	err = locked(func() error {
		pin(0)
		s, err := socket(p.a, unix.SOCK_DGRAM, func(fd int) error { return unix.Connect(fd, at(addrB)) })
		if err != nil {
			return err
		}
		defer unix.Close(s)
		b := make([]byte, 64)
		before, end := threadCPU(), time.Now().Add(length)
		for time.Now().Before(end) {
			for range 64 {
				if _, err := unix.Write(s, b); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN) {
					return err
				}
			}
		}
		senderCPU = threadCPU() - before
		return nil
	})
	over.Store(true)
	if err := errors.Join(err, <-done); err != nil {
		return 0, 0, err
	}
	if received == 0 {
		return 0, 0, errors.New("no datagram arrived")
	}
	return float64(received) / length.Seconds(), micros(senderCPU+receiverCPU) / float64(received), nil
}

// socket makes a blocking socket in a namespace.
func socket(ns string, kind int, prepare func(fd int) error) (fd int, err error) {
	err = in(ns, func() error {
		if fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := prepare(fd); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		return nil
	})
	return fd, err
}

func at(a interface{ As4() [4]byte }) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
}

func tune(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// pin keeps the calling thread on a core; on a machine with fewer cores it
// stays where it is.
func pin(core int) {
	var set unix.CPUSet
	set.Set(core)
	unix.SchedSetaffinity(0, &set) //nolint:errcheck // see above
}

func threadCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
