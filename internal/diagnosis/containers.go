package diagnosis

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/discovery"
	"github.com/atollhq/atoll/internal/platform"
)

// policy asks whether the project's policy lets the connection pass.
func (v *visit) policy(ctx context.Context) error {
	if v.Policies == nil || len(v.targets) == 0 {
		return nil
	}
	// Rules speak of apps and types, which all others have in common.
	other := slices.IndexFunc(v.targets, func(i platform.Instance) bool { return i.ID != v.from.ID })
	if other < 0 {
		v.add("policy", OK, "a container always reaches itself")
		return nil
	}
	to := v.targets[other]
	passes, rule, warning, err := v.Policies.Decide(ctx, v.from, to, v.q.Protocol, v.q.Port)
	switch {
	case err != nil:
		return err
	case !passes:
		v.add("policy", Failed, "no rule allows %s:%s to open connections to %s:%s on %s", v.from.AppName, v.from.Type, to.AppName, to.Type, v.service())
		v.rule = fmt.Sprintf("%s:%s -> %s:%s %s", v.from.AppName, v.from.Type, to.AppName, to.Type, v.service())
	case rule != "" && warning != "":
		v.add("policy", Warning, "the rule %s allows it, but %s", rule, warning)
	case rule != "":
		v.add("policy", OK, "allowed by the rule %s", rule)
	default:
		v.add("policy", OK, "the policy of the project lets it pass")
	}
	return nil
}

// readiness looks which of the containers that are meant are in the name, and
// why others are not.
func (v *visit) readiness(context.Context) error {
	if len(v.targets) == 0 {
		return nil
	}
	var in, out []string
	for _, i := range v.targets {
		if why := v.absent(i); why == "" {
			in = append(in, i.Label())
		} else {
			out = append(out, fmt.Sprintf("%s is not: %s", i.Label(), why))
		}
	}
	where := "in service"
	if v.name != "" {
		where = "in the name"
	}
	said := strings.Join(append([]string{fmt.Sprintf("%d of %d %s", len(in), len(v.targets), where)}, out...), "; ")
	switch {
	case len(out) == 0:
		v.add("containers", OK, "%s", said)
	case len(in) > 0:
		v.add("containers", Warning, "%s", said)
	default:
		v.add("containers", Failed, "%s", said)
		if len(v.addrs) == 0 {
			v.blame("%s has no container that is ready: %s", v.parsed.ServiceType(), v.notReady())
		}
	}
	return nil
}

// absent says why a container is not in the names of its type, "" if it is.
func (v *visit) absent(i platform.Instance) string {
	switch {
	case v.parsed.Number > 0 && len(v.addrs) > 0 && slices.Contains(v.addrs, i.PrivateAddr) && i.State == platform.InstanceRunning:
		return "" // its own name does not wait until it is ready
	case i.State != platform.InstanceRunning:
		return state(i)
	case i.Kind != platform.KindApp:
		if v.name == "" || v.parsed.Number > 0 {
			return ""
		}
		return "containers of its kind are in no service name"
	case !i.Active:
		return "it waits until the whole deployment is ready"
	case !i.Observation.Ready:
		if text := discovery.Explain(i); text != "" {
			return strings.TrimSuffix(text, ".")
		}
		return fmt.Sprintf("it listens nowhere yet, and has not run for %v", platform.SettleTime)
	}
	return ""
}

// notReady is the reason of the first container, with what to do.
func (v *visit) notReady() string {
	i := v.targets[0]
	why := v.absent(i)
	if !strings.HasPrefix(why, i.Label()) {
		why = i.Label() + ": " + why
	}
	switch i.State {
	case platform.InstanceCrashed, platform.InstanceFailed:
		return fmt.Sprintf("%s; see atoll logs -a %s", why, i.AppName)
	case platform.InstanceDraining, platform.InstanceStopping:
		return why + "; another one takes over, unless it was scaled to 0"
	}
	return why
}

// state says in words why a container does not run.
func state(i platform.Instance) string {
	switch i.State {
	case platform.InstanceStarting:
		if i.Reason != "" {
			return "it waits (" + i.Reason + ")"
		}
		return "it has not started yet"
	case platform.InstanceCrashed, platform.InstanceFailed:
		text := "it crashed"
		if i.State == platform.InstanceFailed {
			text = "it could not be started"
		}
		if i.Reason != "" {
			text += " (" + i.Reason + ")"
		}
		if i.Restarts > 1 {
			text += fmt.Sprintf(", %d times so far", i.Restarts)
		}
		return text
	case platform.InstanceDraining, platform.InstanceStopping:
		return "it is being stopped"
	}
	return "it is " + string(i.State)
}

// listeners looks at the sockets of the containers that would be reached.
func (v *visit) listeners(context.Context) error {
	var ok, wrong []string
	for _, i := range v.targets {
		if i.NetnsPath == "" || len(v.addrs) > 0 && !slices.Contains(v.addrs, i.PrivateAddr) {
			continue
		}
		found, err := v.Inside.Listeners(i.NetnsPath)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("the sockets of %s cannot be seen (%v)", i.Label(), err))
			continue
		}
		on, problem, remedy := v.judge(i, found)
		if problem == "" {
			ok = append(ok, fmt.Sprintf("%s listens on %s", i.Label(), socket(on)))
			continue
		}
		wrong = append(wrong, problem)
		if i.State == platform.InstanceCrashed || i.State == platform.InstanceFailed {
			v.blame("%s does not run: %s; see atoll logs -a %s", title(i), state(i), i.AppName)
			continue
		}
		v.blame("%s; %s", problem, remedy)
	}
	switch {
	case len(wrong) > 0:
		v.add("listener", Failed, "%s", strings.Join(append(wrong, ok...), "; "))
	case len(ok) > 0:
		v.add("listener", OK, "%s", list(ok))
	}
	v.listening = len(ok)
	v.blamePolicy()
	return nil
}

// blamePolicy blames the policy where it denies the connection. Where none of
// the containers listens, that comes first: a rule for a port that is not
// there would open nothing.
func (v *visit) blamePolicy() {
	switch {
	case v.rule == "":
	case v.listening > 0 || v.cause == "":
		v.cause = fmt.Sprintf("the policy of the project denies it; run atoll policy allow %q -a %s", v.rule, v.from.AppName)
	default:
		v.cause += "; once that is right ask again, for the policy of the project denies it too"
	}
}

// judge finds the socket that takes the connection, or says what is wrong with
// those that are there, and what to do.
func (v *visit) judge(i platform.Instance, found []platform.Listener) (on platform.Listener, problem, remedy string) {
	const bind = "let it bind to 0.0.0.0 or to $SCALINGO_PRIVATE_HOSTNAME"
	var here, otherProtocol, elsewhere []platform.Listener
	for _, l := range found {
		switch reachable := l.Addr.IsUnspecified() || l.Addr.Unmap() == i.PrivateAddr; {
		case l.Port == v.q.Port && l.Protocol == v.q.Protocol && reachable:
			return l, "", ""
		case l.Port == v.q.Port && l.Protocol == v.q.Protocol:
			here = append(here, l)
		case l.Port == v.q.Port && reachable:
			otherProtocol = append(otherProtocol, l)
		case l.Protocol == v.q.Protocol:
			elsewhere = append(elsewhere, l)
		}
	}
	switch {
	case len(here) > 0 && here[0].Addr.IsLoopback():
		return on, fmt.Sprintf("%s listens on %s only, where nobody but itself can connect", title(i), sockets(here)), bind
	case len(here) > 0 && here[0].Addr.Unmap() == i.OutsideAddr:
		return on, fmt.Sprintf("%s listens on %s only, which is its outside interface (eth0) and not the private network", title(i), sockets(here)), bind
	case len(here) > 0:
		return on, fmt.Sprintf("%s listens on %s only", title(i), sockets(here)), bind
	case len(otherProtocol) > 0:
		return on, fmt.Sprintf("%s listens on port %d for %s and not for %s", title(i), v.q.Port, strings.ToUpper(otherProtocol[0].Protocol), strings.ToUpper(v.q.Protocol)),
			fmt.Sprintf("use %s, or let it listen for both", strings.ToUpper(otherProtocol[0].Protocol))
	case platform.IsPublic(i.Type) && (v.q.Port == 80 || v.q.Port == 443) && slices.ContainsFunc(elsewhere, func(l platform.Listener) bool { return l.Port == platform.Port }):
		return on, fmt.Sprintf("port %d is the router's, and %s listens on $PORT, which is %d", v.q.Port, title(i), platform.Port), fmt.Sprintf("connect to port %d", platform.Port)
	}
	if i.OutsideAddr.IsValid() {
		elsewhere = slices.DeleteFunc(elsewhere, func(l platform.Listener) bool { return l.Addr.Unmap() == i.OutsideAddr })
	}
	open := slices.DeleteFunc(slices.Clone(elsewhere), func(l platform.Listener) bool { return l.Addr.IsLoopback() })
	switch {
	case len(open) > 0:
		return on, fmt.Sprintf("%s does not listen on port %d but on %s", title(i), v.q.Port, sockets(open)), "connect to that port, or change the port it listens on"
	case len(elsewhere) > 0:
		return on, fmt.Sprintf("%s does not listen on port %d but on %s, where nobody but itself can connect", title(i), v.q.Port, sockets(elsewhere)), bind
	}
	return on, fmt.Sprintf("%s listens on no %s port of IPv4", title(i), strings.ToUpper(v.q.Protocol)), "let it bind to 0.0.0.0 (IPv6 does not count, also not [::] of IPv6 only), or see what it logs: atoll logs -a " + i.AppName
}

func socket(l platform.Listener) string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(l.Addr, l.Port), l.Protocol)
}

func sockets(of []platform.Listener) string {
	var texts []string
	for _, l := range of {
		texts = append(texts, socket(l))
	}
	return list(texts)
}
