package opcuabench

import (
	"testing"

	"davy/test/rig"
)

// The stage of the figures, small: values come to both, silence is seen, and
// what was lost comes back. The figures themselves are the bench's.
func TestStage(t *testing.T) {
	const few = 20
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := begin(r, "opcuafloor", few); err != nil {
		t.Fatal(err)
	}
	s, c, err := begin(r, "opcuaside", few)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.tell("sing"); err == nil {
		t.Error("the server does whatever it is told")
	}
	took, err := s.lose(c, "hang", few)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.count(); err != nil || n.Good != few || n.Came < 2*few {
		t.Errorf("%+v, %v", n, err)
	}
	t.Logf("every point was bad after %v", took)
}
