package export

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"
)

func sha256Sum(b []byte) [32]byte { return sha256.Sum256(b) }

func verified(t testing.TB, file []byte, trust Trust) *Report {
	t.Helper()
	r, err := Verify(bytes.NewReader(file), trust)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A file that nobody touched is whole, whoever of the three is believed.
func TestWhole(t *testing.T) {
	m := sample(t, 280)
	file := m.write(t, certificate(seeded(authorityKey)))
	r := verified(t, file, Trust{Authority: pub(seeded(authorityKey))})
	for _, f := range r.Findings {
		t.Logf("%+v", f)
	}
	if !r.Whole {
		t.Error("not whole")
	}
	// Within a whole group a changed hash is named by the group's own.
	f := &forge{t, m, split(t, file)}
	x := readingLeaf(m.epochs[0], 150)
	f.change(0, x.Leaf, true, another)
	r = verified(t, glue(t, f.parts), Trust{Authority: pub(seeded(authorityKey))})
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == Subtree && f.From <= x.Leaf && x.Leaf <= f.To }) {
		t.Errorf("%+v", r.Findings)
	}
}
