// Command probe runs inside containers of the conformance suite and tells
// what it finds there.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: probe VERB [ARGUMENT...]")
		os.Exit(2)
	}
	argument := strings.Join(os.Args[2:], " ")
	switch os.Args[1] {
	case "wait": // until SIGTERM
		wait(false)
	case "stubborn": // ignores SIGTERM
		wait(true)
	case "eat": // memory, in MiB
		eat(number(argument))
	case "spawn": // so many processes
		spawn(number(argument))
	case "count": // print numbered lines for ever, one every so many ms
		count(time.Duration(number(argument)) * time.Millisecond)
	case "flood": // print so many lines at once, then wait
		for i := range number(argument) {
			fmt.Println("line", i+1)
		}
		fmt.Println("flooded")
		wait(false)
	case "status":
		status()
	case "namespaces":
		namespaces()
	case "write": // try to make files in folders
		for _, dir := range os.Args[2:] {
			err := os.WriteFile(dir+"/probe", []byte("x"), 0o600)
			fmt.Println("write", dir, err == nil)
		}
	case "listen": // on a port
		l, err := net.Listen("tcp", ":"+argument)
		fmt.Println("listen", argument, err == nil)
		if err == nil {
			l.Close()
		}
	case "die": // with a code, a moment later
		fmt.Println("dying soon")
		time.Sleep(time.Second)
		fmt.Println("dying now")
		os.Exit(number(argument))
	case "env":
		env := os.Environ()
		slices.Sort(env)
		for _, pair := range env {
			fmt.Println(pair)
		}
	case "read": // tell what comes in on stdin, and its end
		n := 0
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			n += len(in.Bytes())
			fmt.Println("read", in.Text())
		}
		fmt.Println("end of input after", n, in.Err())
	case "terminal": // tell about the terminal, now and when it changes
		terminal()
	case "cat":
		for _, path := range os.Args[2:] {
			text, err := os.ReadFile(path)
			fmt.Printf("%s%v\n", text, err)
		}
	default:
		fmt.Fprintln(os.Stderr, "probe: no verb", os.Args[1])
		os.Exit(2)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(2)
	}
	return n
}

func wait(stubborn bool) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	fmt.Println("ready")
	for s := range signals {
		fmt.Println("got", unix.SignalName(s.(syscall.Signal)))
		if s == syscall.SIGTERM && !stubborn {
			return
		}
	}
}

// terminal prints its size until a line "quit" comes in.
func terminal() {
	size := func() {
		w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println("no terminal:", err)
			return
		}
		fmt.Println("terminal", w.Col, w.Row)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH)
	lines := make(chan string)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- in.Text()
		}
		close(lines)
	}()
	size()
	for {
		select {
		case <-signals:
			size()
		case line, ok := <-lines:
			fmt.Println("line", line, ok)
			if !ok || line == "quit" {
				return
			}
		}
	}
}

var eaten [][]byte

func eat(mib int) {
	for range mib {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i)
		}
		eaten = append(eaten, block)
	}
	fmt.Println("ate", mib, len(eaten))
}

func spawn(n int) {
	for i := range n {
		if err := exec.Command("/proc/self/exe", "wait").Start(); err != nil {
			fmt.Println("spawned", i)
			return
		}
	}
	fmt.Println("spawned", n)
}

func count(every time.Duration) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	ticker := time.NewTicker(every)
	for i := 1; ; i++ {
		fmt.Println("count", i)
		select {
		case <-ticker.C:
		case <-signals:
			fmt.Println("counted", i)
			return
		}
	}
}

// status prints who we are and what we may do.
func status() {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups":
			fmt.Println(name, strings.Join(strings.Fields(value), " "))
		}
	}
	var files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	fmt.Println("Files", files.Max)
	dir, _ := os.Getwd()
	fmt.Println("Dir", dir)
}

// namespaces tries all the ways to make a user namespace, and one that is
// harmless without it.
func namespaces() {
	runtime.LockOSThread()
	fmt.Println("unshare user:", unix.ErrnoName(errno(unix.Unshare(unix.CLONE_NEWUSER))))
	fmt.Println("unshare net:", unix.ErrnoName(errno(unix.Unshare(unix.CLONE_NEWNET))))
	_, _, err := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	fmt.Println("clone user:", unix.ErrnoName(err))
	_, _, err = unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	fmt.Println("clone3:", unix.ErrnoName(err))
}

func errno(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return 0
}
