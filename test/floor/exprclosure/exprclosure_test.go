package exprclosure

import (
	"testing"

	"davy/drivers/tag"
)

func TestTheCondition(t *testing.T) {
	f := func(a, b float64, c bool, d, e float64, badB bool, want string) {
		t.Helper()
		image := make([]tag.Reading, Size)
		for id, v := range map[tag.ID]float64{A: a, B: b, D: d, E: e} {
			x, _ := tag.Float64Value(v)
			image[id] = tag.Reading{Value: x, Quality: tag.GoodQuality}
		}
		image[C] = tag.Reading{Value: tag.BoolValue(c), Quality: tag.GoodQuality}
		if badB {
			image[B].Quality = tag.BadNoComm
		}
		v, q := New()(image)
		if v.String() != want || q.Bad() != (want == "-") {
			t.Errorf("%v, %#x, want %s", v, uint32(q), want)
		}
	}
	f(26, 9, false, 1, 5, false, "true")
	f(26, 11, true, 1, 5, false, "true")
	f(26, 11, false, 1, 5, false, "false")
	f(25, 9, false, 1, 5, false, "false")
	f(26, 9, false, 1, 4, false, "false")
	f(26, 9, true, 1, 5, true, "true")
	f(26, 9, false, 1, 5, true, "-")
	f(25, 9, false, 1, 5, true, "false")
	f(26, 9, false, 1, 4, true, "false")
	f(26, 9, false, 1e308, -1e308, false, "-")
}
