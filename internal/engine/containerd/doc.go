// Package containerd runs workloads on one machine with containerd and runc.
//
// It imports platform, engine and namespace of ours, and declares what it needs
// of the container's network itself (Network). It never looks at databases, names,
// routes or the private network, and it never decides how many containers
// there should be.
//
// # How it works
//
// Every instance has a keeper: one goroutine that connects the container,
// starts it, waits for its end, starts it again, and in the end drains and
// removes it. What a keeper must not forget is a record inside containerd,
// beside the container it is about; nothing is written anywhere else. A new
// process reads the records, compares them with what runs, and goes on.
//
// The log of a process is written by a program of its own (cmd/atoll-logger),
// a child of the container's shim. A pipe to this process would block the
// app as soon as this process is gone.
//
// A container that runs once has a keeper as well. When its process has ended,
// the keeper saves the exit code in the record first, then gives back process
// and network, then reports the end, and waits to be told to remove the rest.
// One whose start was cut off counts as ended: nobody knows how far it came,
// and twice is worse than not at all. The streams of an attached one are pipes
// to this process. Should it die, the container hangs at its next output,
// which nobody would ever read: the next process ends it at once, as the
// loss of a line does with what runs in a terminal.
//
// Up to ten containers share a shim, the process of containerd's that holds
// them; those of one process type are spread over several (group.go says how
// and why).
//
// Starts, and the steps of ends, take turns by app (turns.go): what one app has
// a thousand of delays another's by one of them. The database of containerd is
// why ends are bounded as well: it writes one change after the other, each to
// the disk.
//
// # Guarantees
//
//   - Neither the death of this process nor of containerd ends a container or
//     loses a line of its log. A stop that was interrupted is carried on.
//   - New returns only after the sink holds a row for every container.
//   - A row has the addresses of its container as long as that is connected, over
//     crashes and restarts of this process; after a restart of the machine it
//     has none until the container is connected anew.
//   - A private containerd is started again when it dies.
//   - A container has no capability, cannot gain privileges or make a user
//     namespace, and runs as an unprivileged user. What is not below /app,
//     /tmp, /var/tmp or /dev/shm belongs to root: that is why an app cannot
//     write there. The file system is a layer of the container's own and is
//     new at every start.
//   - An image can be deleted while containers of it run or restart.
//
// # What it needs
//
// Root; containerd from 1.6 and runc from 1.1 (Debian 12 has them); cgroups
// v1, hybrid or v2 with runc's cgroupfs driver. Under systemd the unit must
// have KillMode=process and Delegate=yes, or a stop of the service would take
// containerd and the containers along.
package containerd
