package privnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// Policy says who may open connections to whom in one network. Answers of what
// is allowed pass by themselves, and so do ICMP errors about it.
type Policy struct {
	Network uint32 // key of the network, as in Endpoint
	Mode    Mode
	Rules   []Rule // order and repetitions mean nothing
}

// Rule lets endpoints of one group open connections to another. Two endpoints
// of one group need a rule too.
type Rule struct {
	From, To uint32 // groups, as in Endpoint; 0 means any
	Protocol uint8  // TCP, UDP, ICMP or another of IP; 0 means any
	Port     uint16 // the server's; 0 means any. Only TCP and UDP have ports.
}

// Protocols that rules and flows name by number.
const (
	ICMP uint8 = unix.IPPROTO_ICMP
	TCP  uint8 = unix.IPPROTO_TCP
	UDP  uint8 = unix.IPPROTO_UDP
)

// Mode says what a policy does with what no rule allows.
type Mode uint8

// The modes, numbered as enum mode in bpf/policy.h.
const (
	ModeOpen    Mode = iota // everything passes, rules mean nothing
	ModeDryRun              // it passes, and is counted as WouldDeny
	ModeEnforce             // it is dropped, counted as Denied, for the reason PolicyDenied
	modes
)

// String returns the mode's name: "open", "dry-run" or "enforce".
func (m Mode) String() string {
	if m < modes {
		return [modes]string{"open", "dry-run", "enforce"}[m]
	}
	return fmt.Sprintf("mode-%d", uint8(m))
}

// MaxRules is how many rules fit on a node, over all networks; while a network
// gets other rules, both its old and its new ones count.
const MaxRules = 262144

// SetPolicies makes the switch hold exactly these policies; a network that is
// not named is open. Each network changes in one step, between two packets,
// and what it then denies is dropped from the next packet on, also of a
// connection that exists. Policies outlive the process.
//
// Setting the same again changes nothing. A list that contradicts itself is
// refused and nothing is changed. What another hand does to them since, Set
// undoes. A network whose rules cannot be entered keeps the policy it had; the
// others get theirs, and the error joins all. It may take a second longer where
// rules that were replaced just now have to make room.
func (s *Switch) SetPolicies(ctx context.Context, policies []Policy) error {
	wanted, err := byNetwork(policies)
	if err != nil {
		return fmt.Errorf("cannot set the policies: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.policing.Lock()
	defer s.policing.Unlock()
	s.policies = wanted
	return s.enterPolicies()
}

// enterPolicies makes the tables say what SetPolicies was told last.
func (s *Switch) enterPolicies() error {
	have, err := readTable[uint32, bpf.SwitchPolicy](s.maps.policies)
	if err != nil {
		return err
	}
	rules, err := s.allRules()
	if err != nil {
		return err
	}
	if err := s.removeFormer(have, rules); err != nil {
		return err
	}
	var failed []error
	for network, former := range have {
		if _, keep := s.policies[network]; keep {
			continue
		}
		if err := remove(s.maps.policies, network); err != nil {
			failed = append(failed, fmt.Errorf("cannot open network %d: %w", network, err))
			continue
		}
		delete(have, network)
		s.retired[former.Id] = time.Now()
		s.log.Info("Removed policy", "network", network)
	}
	for _, network := range slices.Sorted(maps.Keys(s.policies)) {
		if err := s.setPolicy(network, s.policies[network], have, rules); err != nil {
			failed = append(failed, fmt.Errorf("cannot set the policy of network %d, it keeps the one it had: %w", network, err))
		}
	}
	return errors.Join(failed...)
}

// otherPolicies returns the networks of which the tables say something else
// than SetPolicies was told; none if it was told nothing yet.
func (s *Switch) otherPolicies() (networks []uint32, err error) {
	if s.policies == nil {
		return nil, nil
	}
	have, err := readTable[uint32, bpf.SwitchPolicy](s.maps.policies)
	if err != nil {
		return nil, err
	}
	rules, err := s.allRules()
	if err != nil {
		return nil, err
	}
	for network, want := range s.policies {
		old, had := have[network]
		next, set := compile(want, old.Id)
		if !had || next != old || !maps.Equal(rules[old.Id], set) {
			networks = append(networks, network)
		}
	}
	for network := range have {
		if _, keep := s.policies[network]; !keep {
			networks = append(networks, network)
		}
	}
	slices.Sort(networks)
	return networks, nil
}

// Policies returns what the kernel holds, ordered by network, rules in no
// particular order; open networks have none.
func (s *Switch) Policies(ctx context.Context) ([]Policy, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.policing.Lock()
	defer s.policing.Unlock()
	have, err := readTable[uint32, bpf.SwitchPolicy](s.maps.policies)
	if err != nil {
		return nil, err
	}
	rules, err := s.allRules()
	if err != nil {
		return nil, err
	}
	var all []Policy
	for _, network := range slices.Sorted(maps.Keys(have)) {
		p := Policy{Network: network, Mode: Mode(have[network].Mode)}
		for r := range rules[have[network].Id] {
			p.Rules = append(p.Rules, r)
		}
		all = append(all, p)
	}
	return all, nil
}

type ruleSet map[Rule]bool

// setPolicy puts one network's policy in force, by one write when everything
// it needs is there.
func (s *Switch) setPolicy(network uint32, want Policy, have map[uint32]bpf.SwitchPolicy, rules map[uint32]ruleSet) error {
	old, had := have[network]
	next, set := compile(want, old.Id)
	if had && maps.Equal(rules[old.Id], set) {
		if next == old {
			return nil
		}
	} else if next.Id = s.freeVersion(have, rules); len(set) > 0 {
		if err := s.addRules(next.Id, set, have, rules); err != nil {
			return err
		}
	}
	if err := s.maps.policies.Put(network, next); err != nil {
		return fmt.Errorf("cannot enter it%s: %w", full(err), err)
	}
	have[network] = next
	if had && old.Id != next.Id {
		s.retired[old.Id] = time.Now()
	}
	s.log.Info("Set policy", "network", network, "mode", want.Mode, "rules", len(set))
	return nil
}

// addRules enters the rules of a new version, all or none. A node that is full
// may be so of what was replaced just now, which is waited for.
func (s *Switch) addRules(version uint32, set ruleSet, have map[uint32]bpf.SwitchPolicy, rules map[uint32]ruleSet) error {
	err := s.enterRules(version, set)
	if errors.Is(err, unix.E2BIG) && len(s.retired) > 0 {
		time.Sleep(leftovers)
		if err = s.removeFormer(have, rules); err == nil {
			err = s.enterRules(version, set)
		}
	}
	if errors.Is(err, unix.E2BIG) {
		err = fmt.Errorf("the node's %d rules are used up (a change needs room for the old and the new ones): use fewer, by \"any\"", MaxRules)
	}
	if err != nil {
		// Whoever comes next shall find the room that this had no use for.
		return errors.Join(err, s.removeRules(version, set))
	}
	rules[version] = set
	return nil
}

func (s *Switch) enterRules(version uint32, set ruleSet) error {
	for r := range set {
		if err := s.maps.rules.Put(ruleKey(version, r), uint32(1)); err != nil {
			return fmt.Errorf("cannot enter a rule: %w", err)
		}
	}
	return nil
}

func (s *Switch) removeRules(version uint32, set ruleSet) error {
	for r := range set {
		if err := remove(s.maps.rules, ruleKey(version, r)); err != nil {
			return err
		}
	}
	return nil
}

// leftovers is how long the rules of a former version stay: packets that were
// under way when it was replaced may still ask for them.
const leftovers = time.Second

// removeFormer removes the rules of versions that are not in force: replaced
// ones, and what a killed process had not finished.
func (s *Switch) removeFormer(have map[uint32]bpf.SwitchPolicy, rules map[uint32]ruleSet) error {
	inForce := make(map[uint32]bool)
	for _, p := range have {
		inForce[p.Id] = true
	}
	for version, set := range rules {
		if inForce[version] || time.Since(s.retired[version]) < leftovers {
			continue
		}
		if err := s.removeRules(version, set); err != nil {
			return err
		}
		delete(rules, version)
	}
	maps.DeleteFunc(s.retired, func(_ uint32, since time.Time) bool { return time.Since(since) >= leftovers })
	return nil
}

// allRules reads the rules of every version.
func (s *Switch) allRules() (map[uint32]ruleSet, error) {
	rules := make(map[uint32]ruleSet)
	err := eachEntry(context.Background(), s.maps.rules, func(key bpf.SwitchRuleKey, _ []uint32) {
		if rules[key.Policy] == nil {
			rules[key.Policy] = make(ruleSet)
		}
		rules[key.Policy][Rule{key.From, key.To, key.Protocol, key.Port}] = true
	})
	return rules, err
}

// freeVersion returns an id that no rule and no policy has, and that none had
// lately: they are given in rising order.
func (s *Switch) freeVersion(have map[uint32]bpf.SwitchPolicy, rules map[uint32]ruleSet) uint32 {
	used := make(map[uint32]bool)
	for _, p := range have {
		used[p.Id] = true
	}
	for id := range rules {
		used[id] = true
	}
	for id := range used {
		s.version = max(s.version, id)
	}
	for s.version++; s.version == 0 || used[s.version]; { // after four thousand million changes
		s.version++
	}
	return s.version
}

// compile makes what the program reads of a policy under a version: beside its
// mode, which fields say something in its rules, each combination once.
func compile(want Policy, version uint32) (p bpf.SwitchPolicy, set ruleSet) {
	set = make(ruleSet)
	for _, r := range want.Rules {
		set[r] = true
	}
	p = bpf.SwitchPolicy{Id: version, Mode: uint32(want.Mode)}
	shapes := make(map[bpf.SwitchShape]bool)
	for r := range set {
		shapes[bpf.SwitchShape{From: mask(r.From), To: mask(r.To), Port: mask(r.Port), Protocol: mask(r.Protocol)}] = true
	}
	// In an order of their own, so that the same rules compile to the same.
	for _, shape := range slices.SortedFunc(maps.Keys(shapes), func(a, b bpf.SwitchShape) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	}) {
		p.Shape[p.Shapes] = shape
		p.Shapes++
	}
	return p, set
}

// mask is all ones for a field that says something, 0 for "any".
func mask[T uint8 | uint16 | uint32](field T) T {
	if field == 0 {
		return 0
	}
	return ^T(0)
}

func ruleKey(version uint32, r Rule) bpf.SwitchRuleKey {
	return bpf.SwitchRuleKey{Policy: version, From: r.From, To: r.To, Port: r.Port, Protocol: r.Protocol}
}

// byNetwork checks a list of policies and indexes those that do anything.
func byNetwork(policies []Policy) (map[uint32]Policy, error) {
	seen := make(map[uint32]bool, len(policies))
	wanted := make(map[uint32]Policy, len(policies))
	for _, p := range policies {
		if seen[p.Network] {
			return nil, fmt.Errorf("network %d is there twice", p.Network)
		}
		seen[p.Network] = true
		if p.Mode >= modes {
			return nil, fmt.Errorf("network %d: there is no mode %d", p.Network, p.Mode)
		}
		for _, r := range p.Rules {
			if r.Port != 0 && r.Protocol != TCP && r.Protocol != UDP && r.Protocol != 0 {
				return nil, fmt.Errorf("network %d: a rule for port %d of protocol %d, which has no ports", p.Network, r.Port, r.Protocol)
			}
		}
		if p.Mode != ModeOpen {
			wanted[p.Network] = p
		}
	}
	return wanted, nil
}
