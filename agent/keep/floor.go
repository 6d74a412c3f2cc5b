package keep

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"davy/agent/evidence"
	"davy/drivers/tag"
)

// Where and how often the last trusted time is kept.
const (
	floorFile  = "trusted-time" // in the state directory: ns since 1970, in decimal
	floorEvery = time.Hour      // it is written; after a sudden stop the bound is so much older
	maxFloor   = 32             // bytes of the file; a longer one is none
)

// floor is the lower bound of now: the newest of the build and the last time
// that the clock was trusted, also by an earlier run. Certificates are held
// against it while the clock is not trusted, see mqtt.Options.Clock.
type floor struct {
	path    string
	wall    func() tag.Stamp
	trusted func() (bool, time.Duration)
	bound   atomic.Int64
}

func newFloor(dir string, now func() tag.Stamp, trusted func() (bool, time.Duration)) *floor {
	f := &floor{path: filepath.Join(dir, floorFile), wall: now, trusted: trusted}
	f.bound.Store(max(built(), kept(f.path)))
	return f
}

// built is when this binary's source was committed, 0 if it does not say.
func built() int64 {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return 0
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return t.UnixNano()
			}
		}
	}
	return 0
}

func kept(path string) int64 {
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxFloor {
		return 0
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// moment is the time, or a bound below it.
func (f *floor) moment() evidence.Moment {
	wall := f.wall().Wall
	if ok, _ := f.trusted(); ok {
		f.bound.Store(max(f.bound.Load(), wall))
		return evidence.Moment{Wall: wall, Trusted: true}
	}
	return evidence.Moment{Wall: f.bound.Load()}
}

// now is moment as certificates of TLS want it.
func (f *floor) now() (time.Time, bool) {
	m := f.moment()
	return time.Unix(0, m.Wall), m.Trusted
}

// run keeps the bound for the next run. What cannot be written is tried again;
// a run that ends before is followed by one with an older bound.
func (f *floor) run(ctx context.Context) error {
	t := time.NewTicker(floorEvery)
	defer t.Stop()
	for {
		if m := f.moment(); m.Trusted {
			_ = f.write(m.Wall)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// write replaces the file whole. It is not synced: an older bound is still one.
func (f *floor) write(wall int64) error {
	next := f.path + ".new"
	if err := os.WriteFile(next, strconv.AppendInt(nil, wall, 10), 0o600); err != nil {
		return err
	}
	return os.Rename(next, f.path)
}
