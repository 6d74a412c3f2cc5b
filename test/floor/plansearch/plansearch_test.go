package plansearch

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The two searches agree wherever both can search.
func TestBothAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 400 {
		rules := Rules{Limit: 3 + r.IntN(20), Gap: r.IntN(12), PerByte: time.Duration(r.IntN(5)), Fixed: time.Duration(r.IntN(60)), BytesPer: 2, Bits: r.IntN(4) == 0}
		var readings []Reading
		for range 1 + r.IntN(7) {
			first := r.IntN(40)
			readings = append(readings, Reading{first, first + 1 + r.IntN(6)})
		}
		a, aok := Exhaustive(rules, readings)
		b, bok := Walk(rules, readings)
		if aok != bok || aok && a != b {
			t.Fatalf("%+v of %v: %d %v tried, %d %v walked", readings, rules, a, aok, b, bok)
		}
	}
}

func TestKnown(t *testing.T) {
	f := func(rules Rules, want time.Duration, readings ...Reading) {
		t.Helper()
		if got, ok := Least(rules, readings); !ok || got != want {
			t.Errorf("%v: %d %v, want %d", readings, got, ok, want)
		}
	}
	rules := Rules{Limit: 10, Gap: 10, PerByte: 1, Fixed: 6, BytesPer: 2}
	f(rules, 8, Reading{0, 1})
	f(rules, 16, Reading{0, 1}, Reading{4, 5})   // bridging three costs as much as asking twice
	f(rules, 16, Reading{0, 1}, Reading{90, 91}) // twice
	f(rules, 14, Reading{0, 1}, Reading{3, 4})
	f(rules, 14, Reading{0, 1}, Reading{3, 4}, Reading{0, 4})
	rules.Gap = 1
	f(rules, 16, Reading{0, 1}, Reading{3, 4})
	if _, ok := Least(rules, []Reading{{0, 11}}); ok {
		t.Error("a reading longer than any request was read")
	}
}
