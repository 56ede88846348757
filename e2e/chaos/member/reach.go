package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// reach connects to each of the numbered names and checks who answers. It
// prints how many did.
func reach(n int, suffix string) error {
	kind, _, _ := strings.Cut(suffix, ".")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	addrs := map[string]int{}
	slots := make(chan struct{}, 16)
	for i := 1; i <= n; i++ {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			addr, err := greet(fmt.Sprintf("%d.%s", i, suffix), fmt.Sprintf("%s-%d", kind, i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
			}
			addrs[addr]++
		})
	}
	wg.Wait()
	fmt.Printf("%d reached at %d addresses\n", n-len(failures), len(addrs))
	return errors.Join(failures[:min(10, len(failures))]...)
}

// greet connects to a name and reads the label of the container there.
func greet(name, label string) (addr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", net.JoinHostPort(name, port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if got := strings.TrimSpace(string(text)); got != label {
		return "", fmt.Errorf("%s leads to %q, want %q", name, got, label)
	}
	return conn.RemoteAddr().String(), nil
}
