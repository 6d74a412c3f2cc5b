package scan

import (
	"slices"
	"testing"
	"time"

	"davy/agent/config"
	"davy/drivers"
)

// What is asked of one station in one period is asked in one go, eight at most;
// the bursts of a link begin apart from each other.
func TestPhases(t *testing.T) {
	var scans []config.Scan
	add := func(n, station int, period time.Duration) {
		for range n {
			scans = append(scans, config.Scan{Period: period, Request: &request{[]drivers.Point{{Station: station}}}})
		}
	}
	add(9, 1, 100*time.Millisecond)
	add(2, 2, 100*time.Millisecond)
	add(1, 1, time.Second)
	add(1, 1, 100*time.Millisecond) // the second of the burst that the ninth began
	s := group(scans)
	got := s.phases(scans)
	const step = int64(spread) / 4
	want := []int64{0, 0, 0, 0, 0, 0, 0, 0, step, 2 * step, 2 * step, 3 * step, step}
	if !slices.Equal(got, want) {
		t.Errorf("phases %v, want %v", got, want)
	}
	if got := s.phases(nil); len(got) != 0 {
		t.Errorf("phases of nothing: %v", got)
	}
}
