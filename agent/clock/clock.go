// Package clock is the one place where the agent looks at the time.
//
// Mono counts nanoseconds since boot (CLOCK_BOOTTIME), so that stamps of two
// processes of one boot can be compared and a restart knows how long nobody
// watched. It is read once at the start of the process and carried on with
// Go's monotonic clock. Imports: nothing of ours but the vocabulary.
package clock

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers/tag"
)

var (
	start = time.Now()
	boot  = func() int64 {
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
			return 0
		}
		return ts.Nano()
	}()
)

// Now returns the present instant on both clocks.
func Now() tag.Stamp {
	t := time.Now()
	return tag.Stamp{Wall: t.UnixNano(), Mono: boot + int64(t.Sub(start))}
}

// BootID returns the kernel's random id of this boot, "" if it has none.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Trusted reports whether the kernel believes the wall clock to be
// synchronised, and its own estimate of the largest error.
func Trusted() (bool, time.Duration) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, 0
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, time.Duration(t.Maxerror) * time.Microsecond
}
