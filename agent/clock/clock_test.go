package clock

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNowGoesOnBothClocks(t *testing.T) {
	before := time.Now()
	a := Now()
	b := Now()
	after := time.Now()
	if b.Mono < a.Mono {
		t.Errorf("mono went back: %d, %d", a.Mono, b.Mono)
	}
	if a.Wall < before.UnixNano() || b.Wall > after.UnixNano() {
		t.Errorf("wall %d and %d outside %d..%d", a.Wall, b.Wall, before.UnixNano(), after.UnixNano())
	}
}

// Two processes of one boot must be able to compare their stamps.
func TestMonoCountsFromTheBoot(t *testing.T) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	if off := time.Duration(Now().Mono - ts.Nano()); off < 0 || off > 5*time.Second {
		t.Errorf("%v away from the kernel's own", off)
	}
}

func TestBootID(t *testing.T) {
	want, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if got := BootID(); got != strings.TrimSpace(string(want)) || len(got) != 36 {
		t.Errorf("boot %q", got)
	}
}

// A clock that is not synchronised must never be trusted; what it says of its
// error is not negative.
func TestTrusted(t *testing.T) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	if err != nil {
		t.Fatal(err)
	}
	trusted, largest := Trusted()
	if unsynchronised := state == unix.TIME_ERROR || tx.Status&unix.STA_UNSYNC != 0; trusted == unsynchronised || largest < 0 {
		t.Errorf("trusted=%v largest=%v, the kernel says state %d status %#x", trusted, largest, state, tx.Status)
	}
}
