package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/platform"
)

// islands is a Network whose sandboxes are connected to nothing: a network
// namespace each, with the private address on lo.
type islands struct {
	dir string

	mu    sync.Mutex
	known map[string]Sandbox
	// groups are those that Setup was asked for last.
	groups map[string]uint32
	next   netip.Addr
	// full makes Setup fail, and so does having as many sandboxes as room (0
	// is no limit); refused counts how often it did. private and in are said
	// of the latter.
	full    bool
	room    int
	private bool
	in      time.Duration
	refused int
	// removing is how many Teardowns there are, most how many there ever were
	// at a time; each lasts as long.
	removing, most int
	lasts          time.Duration
}

func newIslands(dir string) *islands {
	return &islands{dir: dir, known: map[string]Sandbox{}, groups: map[string]uint32{}, next: platform.FirstPrivateAddr}
}

func (n *islands) Setup(_ context.Context, r Request) (Sandbox, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		n.refused++
		return Sandbox{}, errors.New("the private network is full: all 1022 addresses are taken")
	}
	n.groups[r.InstanceID] = r.Group
	if s, ok := n.known[r.InstanceID]; ok {
		return s, nil
	}
	if n.room > 0 && len(n.known) >= n.room {
		n.refused++
		return Sandbox{}, &NoRoomError{Err: errors.New("every place is taken"), Private: n.private, In: n.in}
	}
	s := Sandbox{NetnsPath: filepath.Join(n.dir, r.InstanceID)}
	if r.Private {
		s.PrivateAddr = n.next
		n.next = n.next.Next()
	}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return s, err
	}
	if err := makeNetns(s); err != nil {
		return s, err
	}
	n.known[r.InstanceID] = s
	return s, nil
}

// group is the one that Setup was asked for last.
func (n *islands) group(id string) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.groups[id]
}

func (n *islands) refusals() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refused
}

// makeRoom lets as many sandboxes exist.
func (n *islands) makeRoom(room int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.room = room
}

func (n *islands) fill(full bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = full
}

func (n *islands) Teardown(_ context.Context, id string) error {
	n.count(1)
	defer n.count(-1)
	time.Sleep(n.lasts)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, id)
	return removeNetns(filepath.Join(n.dir, id))
}

func (n *islands) count(d int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removing += d
	n.most = max(n.most, n.removing)
}

func (n *islands) Restore(_ context.Context, members []Member) (lost []string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := map[string]bool{}
	for _, m := range members {
		wanted[m.InstanceID] = true
		if _, err := os.Stat(m.NetnsPath); err == nil {
			n.known[m.InstanceID] = m.Sandbox
		} else {
			lost = append(lost, m.InstanceID)
		}
		if m.PrivateAddr.IsValid() && !m.PrivateAddr.Less(n.next) {
			n.next = m.PrivateAddr.Next()
		}
	}
	entries, err := os.ReadDir(n.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !wanted[e.Name()] {
			if err := removeNetns(filepath.Join(n.dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return lost, nil
}

// left are the names of the sandboxes that exist.
func (n *islands) left(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(n.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// makeNetns makes a namespace on a thread of its own, which ends with it.
func makeNetns(s Sandbox) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not to be used again
		done <- func() error {
			ns, err := netns.New()
			if err != nil {
				return err
			}
			defer ns.Close()
			f, err := os.Create(s.NetnsPath)
			if err != nil {
				return err
			}
			f.Close()
			if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns), s.NetnsPath, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if s.PrivateAddr.IsValid() {
				addr, err := netlink.ParseAddr(s.PrivateAddr.String() + "/32")
				if err != nil {
					return err
				}
				if err := netlink.AddrAdd(lo, addr); err != nil {
					return err
				}
			}
			return netlink.LinkSetUp(lo)
		}()
	}()
	return <-done
}

func removeNetns(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
