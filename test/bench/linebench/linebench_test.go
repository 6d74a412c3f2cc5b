package linebench

import (
	"bytes"
	"testing"
)

// The parts of the figures, briefly: the driver reads what the stations hold, a
// share that is too low does not hold, and a death and a return are seen.
func TestParts(t *testing.T) {
	l, err := wire(115200)
	if err != nil {
		t.Fatal(err)
	}
	read, end, err := driver(l, 115200)
	if err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if use(&out, "x", 115200, 1, 1.5) {
		t.Errorf("nobody uses a line half as much again as the ideal client: %s", out.String())
	}
	p, err := poll(3, busy)
	if err != nil {
		t.Fatal(err)
	}
	for _, dead := range []bool{false, true, false} {
		if s, err := p.until(2, dead); err != nil {
			t.Error(err)
		} else {
			t.Logf("dead %v after %.3g s", dead, s)
		}
	}
	if n := p.answers[1].Load(); n == 0 {
		t.Error("the one beside it was not read")
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}
