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
	for end := time.Now().Add(raw.For); ; {
		for range raw.Times {
			for _, frame := range raw.Frames {
				// A full queue is no reason to stop a flood.
				if err := unix.Sendto(fd, frame, 0, to); err == nil {
					out.Sent++
				} else if raw.For == 0 || err != unix.ENOBUFS {
					return fmt.Errorf("cannot send a frame of %d bytes: %w", len(frame), err)
				}
			}
		}
		if !time.Now().Before(end) {
			return nil
		}
	}
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
