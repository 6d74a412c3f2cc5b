package stand

import (
	"os"
	"testing"
	"time"
)

func TestField(t *testing.T) {
	raw := []byte("Rss:                1856 kB\nPss:                 215 kB\nPss_Anon:            116 kB\nwrite_bytes: 4096\n")
	f := func(name string, want int64, ok bool) {
		t.Helper()
		if got, found := field(raw, name); got != want || found != ok {
			t.Errorf("field %q = %d, %v", name, got, found)
		}
	}
	f("Pss:", 215, true)
	f("Pss_Anon:", 116, true)
	f("write_bytes:", 4096, true)
	f("bytes:", 0, false)
}

func TestTicks(t *testing.T) {
	d, err := ticks([]byte("7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 1 0 5 6 7"))
	if err != nil || d != 420*time.Millisecond {
		t.Errorf("ticks = %v, %v", d, err)
	}
	if _, err := ticks([]byte("7 (a) S 1")); err == nil {
		t.Error("a line that is cut short was read")
	}
}

func TestOwnProcess(t *testing.T) {
	me := []int{os.Getpid()}
	share, err := Share(me)
	if err != nil || share < 100_000 || share > 1e9 {
		t.Errorf("share of this process: %d, %v", share, err)
	}
	if _, err := Used(me); err != nil {
		t.Error(err)
	}
	if _, err := Share([]int{1 << 30}); err == nil {
		t.Error("the share of nobody is known")
	}
}
