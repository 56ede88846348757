package main

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/atoll/bench/ratio"
	"github.com/atollhq/atoll/internal/privnet"
)

// policies compares the switch as it is in use with one that has neither
// policies nor flows: first with 100 rules enforced, then in an open network.
func policies(dir string, rounds int, length time.Duration) ([]*ratio.Series, error) {
	bare, err := atoll(dir, "without, 100 rules", privnet.Config{Bare: true}, privnet.Policy{})
	if err != nil {
		return nil, err
	}
	policed, err := atoll(dir, "100 rules", privnet.Config{}, hundredRules())
	if err != nil {
		return nil, err
	}
	table, err := against(policed, []path{bare}, rounds, length)
	if err != nil {
		return nil, err
	}
	open, err := atoll(dir, "flows", privnet.Config{}, privnet.Policy{})
	if err != nil {
		return nil, err
	}
	bare.name = "without, open network"
	more, err := against(open, []path{bare}, rounds, length)
	return append(table, more...), err
}

// hundredRules lets a talk to b, and says as much of other groups.
func hundredRules() privnet.Policy {
	p := privnet.Policy{Network: 1, Mode: privnet.ModeEnforce, Rules: []privnet.Rule{
		{From: groupA, To: groupB, Protocol: privnet.TCP, Port: port},
		{From: groupA, To: groupB, Protocol: privnet.UDP, Port: port},
	}}
	for i := uint32(len(p.Rules)); i < 100; i++ {
		p.Rules = append(p.Rules, privnet.Rule{From: 100 + i, To: groupB, Protocol: privnet.TCP, Port: uint16(8000 + i)})
	}
	return p
}

// members compares a crowded network with a small one.
func members(dir string, rounds int, length time.Duration) ([]*ratio.Series, error) {
	crowded, err := crowd(dir, "1000 members", 1000)
	if err != nil {
		return nil, err
	}
	small, err := crowd(dir, "10 members", 10)
	if err != nil {
		return nil, err
	}
	return against(crowded, []path{small}, rounds, length)
}

// crowd makes a network of n members, each in a namespace of its own; the path
// is between the first two.
func crowd(dir, name string, n int) (path, error) {
	p, err := ends(dir, name)
	if err != nil {
		return p, err
	}
	sw, err := openSwitch(dir, name, privnet.Config{})
	if err != nil {
		return p, err
	}
	addr := addrA
	for i := range n {
		ns := p.a
		switch {
		case i == 1:
			ns = p.b
		case i > 1:
			if ns, err = namespace(dir, fmt.Sprintf("%s %d", name, i)); err != nil {
				return p, err
			}
		}
		e := privnet.Endpoint{ID: fmt.Sprint(i), Network: 1, Addr: addr, ContainerNetns: ns}
		if err := sw.Attach(context.Background(), e); err != nil {
			return p, err
		}
		addr = addr.Next()
	}
	return p, nil
}
