package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// staUnsync is STA_UNSYNC of linux/timex.h: nobody keeps the clock right.
const staUnsync = 0x0040

// Clock checks that the machine's clock is kept right, and that it does not
// show a time before a file of ours was written. No server is asked.
func Clock(files ...string) Check {
	return Check{"clock", func(context.Context) (string, error) {
		now := time.Now()
		for _, file := range files {
			info, err := os.Stat(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return "", fmt.Errorf("cannot look at %s: %w", file, err)
			}
			// A minute is what a clock may be corrected by.
			if ahead := info.ModTime().Sub(now); ahead > time.Minute {
				return "", fmt.Errorf("the clock shows %s, but %s was written %s later than that: set the clock (tokens and certificates fail with a wrong one)",
					now.UTC().Format(time.RFC3339), file, ahead.Round(time.Second))
			}
		}
		var t unix.Timex // modes 0: only look
		state, err := unix.Adjtimex(&t)
		if err != nil {
			return "", fmt.Errorf("cannot ask the kernel about its clock: %w", err)
		}
		if state == unix.TIME_ERROR || t.Status&staUnsync != 0 {
			return "", Warn("nothing keeps the clock right (it shows %s): apt-get install chrony, or systemd-timesyncd", now.UTC().Format(time.RFC3339))
		}
		return "kept right, " + now.UTC().Format(time.RFC3339), nil
	}}
}
