package scale

import (
	"os"
	"runtime"
	"time"
)

// Held counts the goroutines and descriptors of this process when they have
// stood still for a moment, so that what ended just now is not counted; after
// ten seconds it gives up waiting.
func Held() (goroutines, descriptors int) {
	count := func() (int, int) {
		names, _ := os.ReadDir("/proc/self/fd") // where there is none, the difference is 0 too
		return runtime.NumGoroutine(), len(names)
	}
	goroutines, descriptors = count()
	began := time.Now()
	for still := began; time.Since(still) < 300*time.Millisecond && time.Since(began) < 10*time.Second; {
		<-time.After(5 * time.Millisecond)
		if g, d := count(); g != goroutines || d != descriptors {
			goroutines, descriptors, still = g, d, time.Now()
		}
	}
	return goroutines, descriptors
}
