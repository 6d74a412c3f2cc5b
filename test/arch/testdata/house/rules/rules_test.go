package rules

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSleeps(t *testing.T) {
	time.Sleep(time.Second)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // time is free here
		wait()
	})
}

// wait is called in a bubble.
func wait() { time.Sleep(time.Minute) }

func TestSkips(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Run("sub", func(t *testing.T) { t.Skipf("slow: %d", 1) })
	t.SkipNow()
	text := "温度"
	_ = text // a test may hold Chinese
}
