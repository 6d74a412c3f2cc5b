package keep

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"davy/drivers/tag"
)

// The bound is the newest trusted time, of this run or of one before, and a
// clock that is not trusted moves nothing.
func TestFloor(t *testing.T) {
	dir := t.TempDir()
	wall, trusted := wall0, true
	open := func() *floor {
		return newFloor(dir, func() tag.Stamp { return tag.Stamp{Wall: wall} }, func() (bool, time.Duration) { return trusted, 0 })
	}
	f := open()
	if m := f.moment(); m.Wall != wall0 || !m.Trusted {
		t.Errorf("trusted: %+v", m)
	}
	if err := f.write(f.moment().Wall); err != nil {
		t.Fatal(err)
	}
	wall, trusted = 0, false // 1970
	if m := f.moment(); m.Wall != wall0 || m.Trusted {
		t.Errorf("not trusted: %+v", m)
	}
	if m := open().moment(); m.Wall != wall0 || m.Trusted {
		t.Errorf("not trusted, after a restart: %+v", m)
	}
	wall = wall0 + int64(365*24*time.Hour)
	if m := open().moment(); m.Wall != wall0 {
		t.Errorf("a clock that is ahead and not trusted moved the bound to %d", m.Wall)
	}
	if err := os.WriteFile(filepath.Join(dir, floorFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := open().moment(); m.Wall != built() {
		t.Errorf("with a damaged file: %+v", m)
	}
}
