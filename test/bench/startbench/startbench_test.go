package startbench

import (
	"path/filepath"
	"testing"

	"davy/agent/clock"
	"davy/agent/journal"
)

// What was laid ready is there for the next to open it, and nothing of it is
// confirmed.
func TestFill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if err := forget(dir); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
	const some = 5_000_000
	n, err := fill(dir, "GW", destination, some)
	if err != nil {
		t.Fatal(err)
	}
	if err := forget(dir); err != nil {
		t.Error(err)
	}
	j, err := journal.Open(journal.Options{Dir: dir, Gateway: "GW", MustConfirm: []string{destination}, Now: clock.Now, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	c, err := j.Cursor(destination)
	if err != nil {
		t.Fatal(err)
	}
	var waiting uint64
	for _, b := range c.Backlog() {
		waiting += b.Records
	}
	if s := j.Stat(); s.Bytes < some || waiting < n || n < some/40 {
		t.Errorf("%d bytes, %d records of which %d wait", s.Bytes, n, waiting)
	}
}
