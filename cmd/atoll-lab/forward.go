package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/lab"
)

func forwardCommand() *cobra.Command {
	var listen, to, from string
	var foreground bool
	cmd := &cobra.Command{
		Use:   "forward NAME --listen 127.0.0.1:PORT --to ADDRESS:PORT",
		Short: "Reach a TCP port of a lab from this machine, at 127.0.0.1",
		Long: `Listens on 127.0.0.1 of this machine and connects from inside the lab. Returns
when it listens; the forwarder goes on in the background until the lab is
removed.`,
		Example: `  atoll-lab forward demo --listen 127.0.0.1:8080 --to 203.0.113.2:80 --from internet`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, ns, err := forwardTarget(args[0], from, to)
			if err != nil {
				return err
			}
			listener, err := lab.ListenLoopback(listen)
			if err != nil {
				return err
			}
			if foreground {
				return lab.Forward(cmd.Context(), listener, ns, to)
			}
			pid, err := startForwarder(l, listener, from, to)
			if err != nil {
				return fmt.Errorf("cannot start the forwarder: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s leads to %s in lab %s (process %d)\n", listener.Addr(), to, args[0], pid)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", "", "where to listen: 127.0.0.1 and a port (0: any free one)")
	targetFlags(cmd, &from, &to)
	flags.BoolVar(&foreground, "foreground", false, "stay until interrupted")
	mustRequire(cmd, "listen")
	return cmd
}

// forwarderCommand is what forward leaves running. It gets the listener as its
// file 3.
func forwarderCommand() *cobra.Command {
	var to, from string
	cmd := &cobra.Command{
		Use:    "forwarder NAME",
		Short:  "Forward connections into a lab (started by forward)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, ns, err := forwardTarget(args[0], from, to)
			if err != nil {
				return err
			}
			file := os.NewFile(3, "listener")
			listener, err := net.FileListener(file)
			if err != nil {
				return fmt.Errorf("there is no listener to take over (this command is started by forward): %w", err)
			}
			if err := file.Close(); err != nil {
				return err
			}
			return lab.Forward(cmd.Context(), listener, ns, to)
		},
	}
	targetFlags(cmd, &from, &to)
	return cmd
}

func targetFlags(cmd *cobra.Command, from, to *string) {
	cmd.Flags().StringVar(to, "to", "", "where to connect: IP address and port in the lab")
	cmd.Flags().StringVar(from, "from", "internet", "where to connect from: internet or server")
	mustRequire(cmd, "to")
}

func mustRequire(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagRequired(flag); err != nil {
		panic(err) // the flag does not exist: a mistake in this file
	}
}

func forwardTarget(name, from, to string) (*lab.Lab, lab.Namespace, error) {
	l, err := lab.Open(name)
	if err != nil {
		return nil, lab.Namespace{}, err
	}
	ns, err := l.Namespace(from)
	if err != nil {
		return nil, lab.Namespace{}, err
	}
	if _, err := netip.ParseAddrPort(to); err != nil {
		return nil, lab.Namespace{}, fmt.Errorf("--to %q is not an IP address and a port, such as 203.0.113.2:80", to)
	}
	return l, ns, nil
}

// startForwarder leaves a process behind that ends with the lab. What it says
// goes to the lab's folder.
func startForwarder(l *lab.Lab, listener *net.TCPListener, from, to string) (int, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	file, err := listener.File()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	log, err := os.CreateTemp(l.Dir(), "forward-*.log")
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(program, "forwarder", l.Name(), "--from", from, "--to", to)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if err := l.Adopt(cmd.Process.Pid); err != nil {
		said, _ := os.ReadFile(log.Name())
		return 0, errors.Join(fmt.Errorf("%w: %s", err, said), cmd.Process.Kill(), cmd.Wait())
	}
	return cmd.Process.Pid, nil
}
