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

func inside(t *testing.T, f func()) { synctest.Test(t, func(*testing.T) { f() }) }

func TestSleepsInside(t *testing.T) {
	slow := func() { time.Sleep(time.Hour) }
	inside(t, slow)
	time.Sleep(time.Second)
}

func TestSleepsInGoroutine(t *testing.T) {
	go func() { time.Sleep(time.Second) }()
}

func TestSkips(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Run("sub", func(t *testing.T) { t.Skipf("slow: %d", 1) })
	t.SkipNow()
	text := "温度"
	_ = text // a test may hold Chinese
}
