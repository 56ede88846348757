package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// neighbourLimits are the sizes of the kernel's table of neighbours, from the
// one above which old entries are dropped at all to the one that is never
// exceeded; ip-sysctl in the kernel's documentation. There is one table for
// all network namespaces of a machine, and two containers that talk to each
// other take two entries. With the kernel's 1024, a single container that
// connects to everybody in a full network fills it, and connections of all
// others fail.
var neighbourLimits = []struct {
	file string
	min  int
}{
	// The largest first: the kernel does not check the order, but acts by it.
	{"gc_thresh3", 65536},
	{"gc_thresh2", 32768},
	{"gc_thresh1", 8192},
}

// neighbourSettings is where they are. They are seen in the machine's first
// network namespace only.
const neighbourSettings = "/proc/sys/net/ipv4/neigh/default"

// raiseNeighbourLimits makes room in the table of neighbours; a larger one is
// left as it is.
func raiseNeighbourLimits(dir string, log *slog.Logger) error {
	for _, l := range neighbourLimits {
		path := filepath.Join(dir, l.file)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			log.Debug("The size of the table of neighbours cannot be set from this network namespace", "setting", path)
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read how many neighbours the kernel remembers: %w", err)
		}
		now, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("cannot read how many neighbours the kernel remembers: %w", err)
		}
		if now >= l.min {
			continue
		}
		log.Info("Setting net.ipv4.neigh.default."+l.file+": the kernel remembers neighbours of all containers in one table", "from", now, "to", l.min)
		if err := os.WriteFile(path, []byte(strconv.Itoa(l.min)), 0o644); err != nil {
			return fmt.Errorf("cannot let the kernel remember more neighbours: %w", err)
		}
	}
	return nil
}
