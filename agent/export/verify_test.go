package export

import (
	"bytes"
	"crypto/sha256"
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
	m := sample(t)
	file := m.write(t, certificate(seeded(authorityKey)))
	r := verified(t, file, Trust{Authority: pub(seeded(authorityKey))})
	for _, f := range r.Findings {
		t.Logf("%+v", f)
	}
	if !r.Whole {
		t.Error("not whole")
	}
}
