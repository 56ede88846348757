package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The test binary is also the processes that own labs: started again with this
// variable.
const roleVariable = "ATOLL_LAB_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role, name, _ := strings.Cut(os.Getenv(roleVariable), ":"); role {
	case "":
		os.Exit(m.Run())
	case "owner":
		exitWith(ownAndWait(name))
	case "internet":
		exitWith(answerWhileWatched(name))
	}
}

// answerWhileWatched runs the internet of a detached lab for as long as its
// input is open, so that the lab becomes a left-over when the test is killed.
func answerWhileWatched(name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return RunInternet(ctx, name)
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func asRole(role, name string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role+":"+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// furniture is what an owner tells about the lab it filled.
type furniture struct {
	PIDs       []int    // processes that must end with the lab
	Namespaces []string // as /proc/PID/ns/net reads
}

// ownAndWait makes a lab with everything in it that a test may leave, prints
// furniture, and waits to be killed.
func ownAndWait(name string) error {
	l, err := New(name, Options{})
	if err != nil {
		return err
	}
	f, err := furnish(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return err
	}
	select {}
}

func furnish(l *Lab) (furniture, error) {
	var f furniture
	start := func(cmd *exec.Cmd) (int, error) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		f.PIDs = append(f.PIDs, cmd.Process.Pid)
		return cmd.Process.Pid, nil
	}
	// A process in the server, one in the machine's namespace.
	if _, err := start(l.Server().Command(context.Background(), "sleep", "1000")); err != nil {
		return f, err
	}
	pid, err := start(exec.Command("sleep", "1000"))
	if err != nil {
		return f, err
	}
	if err := l.Adopt(pid); err != nil {
		return f, err
	}
	// One in a namespace of its own, as a container's, bound in the lab's folder.
	container := containerNamespace(l)
	if err := container.make(); err != nil {
		return f, err
	}
	if _, err := start(container.Command(context.Background(), "sleep", "1000")); err != nil {
		return f, err
	}
	// One in control groups only, frozen.
	if pid, err = start(exec.Command("sleep", "1000")); err != nil {
		return f, err
	}
	if err := enterCgroups(l.CgroupParent()+"/atoll/1", pid); err != nil {
		return f, err
	}
	// Mounts in each other.
	for _, dir := range []string{"rootfs", "rootfs/shm"} {
		dir = filepath.Join(l.Dir(), dir)
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", 0, "")); err != nil {
			return f, err
		}
	}
	for _, ns := range []Namespace{l.server, l.internet, container} {
		id, err := idOf(ns)
		if err != nil {
			return f, err
		}
		f.Namespaces = append(f.Namespaces, id)
	}
	return f, nil
}

func containerNamespace(l *Lab) Namespace {
	return Namespace{name: "container", path: filepath.Join(l.Dir(), "container net")}
}

func enterCgroups(group string, pid int) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if !strings.HasPrefix(m.fstype, "cgroup") {
			continue
		}
		dir := filepath.Join(m.point, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0)
		if err != nil && !errors.Is(err, unix.ENOSPC) { // cpuset without processors
			return err
		}
		if state := filepath.Join(dir, "freezer.state"); exists(state) {
			if err := os.WriteFile(state, []byte("FROZEN"), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func idOf(n Namespace) (id string, err error) {
	err = Do(n, func() error {
		id, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	return id, err
}

func namespaceOf(t *testing.T, n Namespace) string {
	t.Helper()
	id, err := idOf(n)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// hold keeps the namespaces of a lab to the end of the test: the kernel would
// give their numbers to others, and remains would find those.
func hold(t *testing.T, l *Lab) (server netns.NsHandle) {
	t.Helper()
	for _, path := range []string{l.server.path, l.internet.path, containerNamespace(l).path} {
		ns, err := netns.GetFromPath(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		if path == l.server.path {
			server = ns
		}
	}
	return server
}

// startOwner starts a process that owns a lab of that name.
func startOwner(t *testing.T, name string) (*exec.Cmd, furniture) {
	t.Helper()
	cmd := asRole("owner", name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	})
	var f furniture
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&f); err != nil {
		t.Fatalf("the owner did not make a lab: %v", err)
	}
	hold(t, at(name, nil))
	return cmd, f
}

// remains is everything that is there of a lab, found without its records.
func remains(t *testing.T, name string, f furniture) []string {
	t.Helper()
	var found []string
	if exists(filepath.Join(root, name)) {
		found = append(found, "folder")
	}
	mounts, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.point, filepath.Join(root, name)+"/") || slices.Contains(f.Namespaces, m.root) {
			found = append(found, "mount "+m.point)
		}
		if strings.HasPrefix(m.fstype, "cgroup") && exists(filepath.Join(m.point, "atoll-lab-"+name)) {
			found = append(found, "control group in "+m.point)
		}
	}
	for _, pid := range f.PIDs {
		if _, err := startOf(pid); err == nil {
			found = append(found, fmt.Sprintf("process %d", pid))
		}
	}
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if id, err := os.Readlink(task); err == nil && slices.Contains(f.Namespaces, id) {
			found = append(found, "thread "+task)
		}
	}
	return found
}

func TestCloseRemovesEverything(t *testing.T) {
	NeedRoot(t)
	links := linkNames(t)
	name := testName(t.Name(), os.Getpid(), started.Add(1))
	l, err := New(name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f, err := furnish(l)
	if err != nil {
		t.Fatal(err)
	}
	if got := remains(t, name, f); len(got) < 4+len(f.PIDs)+len(f.Namespaces) {
		t.Fatalf("before, only this was there: %q", got)
	}
	// Whoever still holds the namespace open is cut off all the same.
	held := hold(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := netlink.NewHandleAt(held, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.LinkByName(serverLink); !errors.As(err, new(netlink.LinkNotFoundError)) {
		t.Errorf("after, %s was still there (%v)", serverLink, err)
	}
	if got := remains(t, name, f); len(got) > 0 {
		t.Errorf("after, this was still there: %q", got)
	}
	if got := linkNames(t); !slices.Equal(got, links) {
		t.Errorf("links of the machine: %q, were %q", got, links)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := Do(l.Server(), func() error { return nil }); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Do in a closed lab: %v", err)
	}
}

func TestNewRemovesWhatAKilledOwnerLeft(t *testing.T) {
	NeedRoot(t)
	name := testName(t.Name(), os.Getpid(), started.Add(1))
	owner, f := startOwner(t, name)
	// Tests of other packages make labs too: keep them from cleaning up first.
	err := locked(func() error {
		if err := owner.Process.Kill(); err != nil {
			return err
		}
		_ = owner.Wait()
		if got := remains(t, name, f); len(got) < 4+len(f.PIDs)+len(f.Namespaces) {
			return fmt.Errorf("after the kill, only this was left: %q", got)
		}
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), "left-over") {
			t.Errorf("Open of a left-over: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	Start(t, Options{})
	if got := remains(t, name, f); len(got) > 0 {
		t.Errorf("after New, this was still there: %q", got)
	}
}

func TestALivingOwnersLabIsLeftAlone(t *testing.T) {
	NeedRoot(t)
	name := testName(t.Name(), os.Getpid(), started.Add(1))
	owner, f := startOwner(t, name)
	before := remains(t, name, f)
	Start(t, Options{})
	if _, err := CleanStale(); err != nil {
		t.Error(err)
	}
	want := fmt.Sprintf("process %d", owner.Process.Pid)
	if _, err := New(name, Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("New with the name of a living lab: %v", err)
	}
	if err := Remove(name); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Remove of another process's lab: %v", err)
	}
	if got := remains(t, name, f); !slices.Equal(got, before) {
		t.Errorf("its lab has %q, had %q", got, before)
	}
}

func TestADetachedLabOutlivesItsMaker(t *testing.T) {
	NeedRoot(t)
	name := testName(t.Name(), os.Getpid(), started.Add(1))
	t.Cleanup(func() {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	})
	internet := asRole("internet", name)
	watched, watch, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Close()
	defer watch.Close()
	internet.Stdin = watched
	if err := Up(t.Context(), name, Options{}, internet); err != nil {
		t.Fatal(err)
	}
	if _, err := CleanStale(); err != nil {
		t.Error(err)
	}
	l, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	f := furniture{PIDs: []int{internet.Process.Pid}, Namespaces: []string{namespaceOf(t, l.Server()), namespaceOf(t, l.Internet())}}
	hold(t, l)
	if err := l.askEcho(t.Context()); err != nil {
		t.Error(err)
	}
	if err := Up(t.Context(), name, Options{}, asRole("internet", name)); err == nil {
		t.Error("a second lab of that name is no error")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := Remove(name); err != nil {
		t.Fatal(err)
	}
	if got := remains(t, name, f); len(got) > 0 {
		t.Errorf("after Remove, this was still there: %q", got)
	}
	if err := Remove(name); err != nil {
		t.Errorf("Remove of no lab: %v", err)
	}
}

func TestUpLeavesNothingWhenItFails(t *testing.T) {
	NeedRoot(t)
	name := testName(t.Name(), os.Getpid(), started.Add(1))
	err := Up(t.Context(), name, Options{}, exec.Command("sh", "-c", "echo I cannot >&2; exit 3"))
	if err == nil || !strings.Contains(err.Error(), "I cannot") {
		t.Errorf("error %v does not say why", err)
	}
	if got := remains(t, name, furniture{}); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// The kernel gives the number of a namespace that is gone to the next one. A
// lab that is being removed must not take that for one of its own.
func TestNamespacesThatAreHeldKeepTheirNumber(t *testing.T) {
	NeedRoot(t)
	dir := t.TempDir()
	bind := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o444); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("unshare", "--net="+path, "true").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
		return path
	}
	first := bind("first")
	all, err := namespacesBelow(dir, "")
	if err != nil || len(all) != 1 {
		t.Fatalf("found %d namespaces (%v), want one", len(all), err)
	}
	defer all.close()
	if err := unix.Unmount(first, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	for i := range 20 {
		if err := unix.Stat(bind(fmt.Sprintf("next-%d", i)), &st); err != nil {
			t.Fatal(err)
		}
		if all[fmt.Sprintf("net:[%d]", st.Ino)] != nil {
			t.Fatalf("namespace %d has the number of the one that is gone", st.Ino)
		}
	}
}
