package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/resolver"
	"github.com/atollhq/atoll/internal/roster"
)

// serve is our resolver as a process of its own, which the server of Atoll is
// not: CoreDNS does nothing else either. One client asks what else many
// containers would, so it may ask as much as it can.
func serve(addr string) error {
	listen, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %q: %w", addr, err)
	}
	r := roster.New()
	fill(r)
	res, err := resolver.New(resolver.Config{
		Listen: []netip.AddrPort{listen}, Roster: r, Directory: directory.New(), QuestionRate: 10_000_000,
	})
	if err != nil {
		return err
	}
	return res.Run(context.Background())
}
