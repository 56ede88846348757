package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// sendFrames puts frames on an interface, past the kernel's own stack.
func sendFrames(raw order.Raw, out *order.Outcome) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open a packet socket: %w", err)
	}
	defer unix.Close(fd)
	link, err := net.InterfaceByName(raw.Link)
	if err != nil {
		return err
	}
	to := &unix.SockaddrLinklayer{Ifindex: link.Index}
	send := func(frame []byte) error { return unix.Sendto(fd, frame, 0, to) }
	for end := time.Now().Add(raw.For); ; {
		for range raw.Times {
			for _, frame := range raw.Frames {
				err := send(frame)
				if err == unix.ENOBUFS {
					// The queue is full. That is no reason to stop a flood;
					// others are to arrive one by one.
					if raw.For > 0 {
						continue
					}
					err = insist(send, frame)
				}
				if err != nil {
					return fmt.Errorf("cannot send a frame of %d bytes: %w", len(frame), err)
				}
				out.Sent++
			}
		}
		if !time.Now().Before(end) {
			return nil
		}
	}
}

// queueTime is how long a full queue may take to have room again.
const queueTime = 5 * time.Second

// insist sends a frame again until the kernel's queue has room for it.
func insist(send func([]byte) error, frame []byte) (err error) {
	for end := time.Now().Add(queueTime); time.Now().Before(end); {
		if err = send(frame); err != unix.ENOBUFS {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

// sendPackets sends IPv4 packets with headers of the sender's own.
func sendPackets(p order.Packet, out *order.Outcome) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("cannot open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	for _, packet := range p.Packets {
		for range p.Times {
			to := unix.SockaddrInet4{Addr: [4]byte(packet[16:20])}
			if err := unix.Sendto(fd, packet, 0, &to); err != nil {
				return fmt.Errorf("cannot send a packet of %d bytes: %w", len(packet), err)
			}
			out.Sent++
		}
	}
	return nil
}

// unshare starts a program that needs no more than a user namespace.
func unshare() error {
	cmd := exec.Command("/proc/self/exe")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot make a user namespace: %w", err)
	}
	_ = cmd.Wait() // it ends with its usage; that it ran is what counts
	return nil
}
