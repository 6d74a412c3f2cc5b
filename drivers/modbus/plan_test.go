package modbus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"

	"pgregory.net/rapid"
)

func planned(t testing.TB, points ...drivers.Point) []string {
	t.Helper()
	for i := range points {
		points[i].Tag = tag.ID(i + 1)
	}
	requests, err := TCP{}.Plan(drivers.Settings{}, points)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, q := range requests {
		out = append(out, q.String())
	}
	return out
}

func TestPlanMerges(t *testing.T) {
	at := func(s, typ string) drivers.Point { return point(t, s, typ) }
	station := func(p drivers.Point, n int) drivers.Point { p.Station = n; return p }
	every := func(p drivers.Point, d time.Duration) drivers.Point { p.Period = d; return p }
	f := func(want string, points ...drivers.Point) {
		t.Helper()
		if got := strings.Join(planned(t, points...), "; "); got != want {
			t.Errorf("planned %s\nwant    %s", got, want)
		}
	}
	f("")
	f("station 1 holding 0..19 (ref 40001..40020)", at("holding 18", "float32"), at("holding 0", ""), at("holding 9", ""))
	f("station 1 holding 0..124 (ref 40001..40125)", at("holding 0", ""), at("holding 124", ""))                                        // a gap costs less than a request
	f("station 1 holding 0 (ref 40001); station 1 holding 125 (ref 40126)", at("holding 0", ""), at("holding 125", ""))                 // no request is so long
	f("station 1 coil 0..1999 (ref 1..2000)", at("coil 0", ""), at("coil 1999", ""))                                                    // bits
	f("station 1 coil 0 (ref 1); station 1 coil 2000 (ref 2001)", at("coil 0", ""), at("coil 2000", ""))                                // more
	f("station 1 input 5 (ref 30006); station 1 holding 5 (ref 40006)", at("holding 5", ""), at("input 5", ""))                         // tables
	f("station 1 holding 5 (ref 40006); station 2 holding 6 (ref 40007)", at("holding 5", ""), station(at("holding 6", ""), 2))         // stations
	f("station 1 holding 5 (ref 40006); station 1 holding 6 (ref 40007)", at("holding 5", ""), every(at("holding 6", ""), time.Second)) // periods
	f("station 1 holding 5..6 (ref 40006..40007)", at("holding 5 bit 3", ""), at("holding 5", "float32"), at("holding 6", ""))          // overlapping
	f("station 1 holding 5 (ref 40006)", at("holding 5", ""), at("holding 5", "int16"), at("holding 5 bit 0", ""))                      // the same register
	f("station 1 holding 65532..65535 (ref 465533..465536)", at("holding 65532", "float64"))                                            // the end
	f("station 1 holding 0 (ref 40001); station 1 holding 65535 (ref 465536)", at("holding 65535", ""), at("holding 0", ""))            // far

	var many []drivers.Point
	for i := range 63 {
		many = append(many, at(Address{Table: Holding, Number: uint16(2 * i)}.String(), "float32"))
	}
	f("station 1 holding 0..123 (ref 40001..40124); station 1 holding 124..125 (ref 40125..40126)", many...) // no point is cut at 125
}

// What a device's own fields say of its requests.
func TestPlanObeysTheDevice(t *testing.T) {
	f := func(want string, fields []string, points ...drivers.Point) {
		t.Helper()
		for i := range points {
			points[i].Options = options(t, fields...)
		}
		if got := strings.Join(planned(t, points...), "; "); got != want {
			t.Errorf("%v: planned %s\nwant    %s", fields, got, want)
		}
	}
	at := func(s string) drivers.Point { return point(t, s, "") }
	f("station 1 holding 0..1 (ref 40001..40002); station 1 holding 3 (ref 40004)", []string{"gaps", "no"}, at("holding 0"), at("holding 1"), at("holding 3"))
	f("station 1 holding 0..3 (ref 40001..40004)", []string{"gaps", "1 register"}, at("holding 0"), at("holding 1"), at("holding 3"))
	f("station 1 holding 0..1 (ref 40001..40002); station 1 holding 4 (ref 40005)", []string{"gaps", "1"}, at("holding 0"), at("holding 1"), at("holding 4"))
	f("station 1 coil 0..17 (ref 1..18)", []string{"gaps", "1"}, at("coil 0"), at("coil 17")) // 16 bits
	f("station 1 coil 0 (ref 1); station 1 coil 18 (ref 19)", []string{"gaps", "1"}, at("coil 0"), at("coil 18"))
	f("station 1 holding 0..3 (ref 40001..40004); station 1 holding 4 (ref 40005)", []string{"max_block", "4"}, at("holding 0"), at("holding 1"), at("holding 2"), at("holding 3"), at("holding 4"))
	f("station 1 coil 0..63 (ref 1..64)", []string{"max_block", "4"}, at("coil 0"), at("coil 63"))
	f("station 1 coil 0 (ref 1); station 1 coil 63..64 (ref 64..65)", []string{"max_block", "4"}, at("coil 0"), at("coil 63"), at("coil 64"))
	f("station 1 holding 0..61 (ref 40001..40062)", []string{"registers", "32 bit"}, point(t, "holding 0", "float32"), point(t, "holding 61", "float32"))
	f("station 1 holding 0 (ref 40001); station 1 holding 61..62 (ref 40062..40063)", []string{"registers", "32 bit"},
		point(t, "holding 0", "float32"), point(t, "holding 61", "float32"), point(t, "holding 62", "float32"))
	f("station 1 holding 5..9 (ref 40006..40010); station 1 holding 200 (ref 40201)", []string{"identity", "holding 5 = 7"}, at("holding 8"), at("holding 9"), at("holding 200"))
	f("station 1 holding 100..140 (ref 40101..40141)", []string{"identity", "holding 5 = 7"}, at("holding 100"), at("holding 140"))
	f("station 1 input 8 (ref 30009)", []string{"identity", "holding 5 = 7"}, at("input 8"))
	f("station 1 holding 8 (ref 40009)", []string{"identity", "holding 5 = 7", "gaps", "1"}, at("holding 8"))
	f("station 1 holding 5..7 (ref 40006..40008)", []string{"identity", "holding 5 = 7", "gaps", "1"}, at("holding 7"))

	// A register that a point of another period uses is no gap.
	slow := at("holding 2")
	slow.Period = time.Minute
	f("station 1 holding 1..3 (ref 40002..40004); station 1 holding 2 (ref 40003)", []string{"gaps", "no"}, at("holding 1"), at("holding 3"), slow)

	// All registers of a reading in one request.
	far := at("holding 100")
	far.Decimals = Address{Table: Holding, Number: 0}
	f("station 1 holding 0..100 (ref 40001..40101); station 1 holding 160 (ref 40161)", nil, far, at("holding 160"))
	shared := at("holding 3")
	shared.State = &drivers.State{Address: Address{Table: Holding, Number: 9}, Type: drivers.Type{Kind: tag.Int, Bits: 32}}
	f("station 1 holding 3..10 (ref 40004..40011)", nil, shared)

	// Devices of one station with different fields share no request; with the same they do.
	a, b, c := at("holding 1"), at("holding 2"), at("holding 3")
	a.Options, b.Options, c.Options = options(t, "gaps", "no"), options(t, "gaps", "2"), options(t, "gaps", "no")
	if got := strings.Join(planned(t, a, b, c), "; "); got != "station 1 holding 1 (ref 40002); station 1 holding 3 (ref 40004); station 1 holding 2 (ref 40003)" {
		t.Error(got)
	}
	b.Options = options(t, "gaps", "no")
	if got := strings.Join(planned(t, a, b, c), "; "); got != "station 1 holding 1..3 (ref 40002..40004)" {
		t.Error(got)
	}
}

func TestWhatOneRequestCannotTake(t *testing.T) {
	f := func(want string, p drivers.Point, fields ...string) {
		t.Helper()
		p.Options = options(t, fields...)
		var h *drivers.Hint
		if _, err := plan([]drivers.Point{p}); !errors.As(err, &h) || h.Code != want {
			t.Errorf("%v: %v, want %s", fields, err, want)
		}
	}
	p := point(t, "holding 0", "float64")
	f("modbus.block-short", p, "max_block", "3")
	p.Decimals = Address{Table: Holding, Number: 125}
	f("modbus.companion-far", p)
	p.Decimals = Address{Table: Holding, Number: 6}
	f("modbus.companion-far", p, "gaps", "1")
	f("modbus.companion-far", p, "gaps", "no")
	p.Decimals = Address{Table: Input, Number: 4}
	f("modbus.companion-table", p)
	p.Decimals, p.State = nil, &drivers.State{Address: Address{Table: Coil, Number: 4}, Type: drivers.Type{Kind: tag.Bool, Bits: 1}}
	f("modbus.companion-table", p)
	text := point(t, "holding 0", "text 2")
	text.Gain = 2
	f("modbus.scale-of-bit", text)
	coded := point(t, "holding 0", "")
	coded.Codes, coded.Offset = []int64{1}, 1
	f("modbus.scale-of-bit", coded)
}

func TestPlanFindsEveryMistake(t *testing.T) {
	wrongStation, readOnly, field, scaled := point(t, "holding 1", ""), point(t, "input 2", ""), point(t, "holding 3", "uint16 bits 4..7"), point(t, "coil 4", "")
	wrongStation.Station, readOnly.Write, field.Write, scaled.Gain = 256, true, true, 2
	_, err := TCP{}.Plan(drivers.Settings{}, []drivers.Point{wrongStation, readOnly, field, scaled})
	for _, code := range []string{"modbus.station", "modbus.write-table", "modbus.write-field", "modbus.scale-of-bit"} {
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%v does not name %s", err, code)
		}
	}
	var h *drivers.Hint
	if !errors.As(err, &h) {
		t.Errorf("%v holds no hint", err)
	}
}

func TestCost(t *testing.T) {
	w := ethernet()
	cost := func(table Table, count int) time.Duration { return w.of(nil, table, count) }
	// 102 + 349 + 90 bytes at 10 Mbit/s.
	if got, want := cost(Holding, 125), time.Duration((102+90+9+250+90)*8)*100*time.Nanosecond; got != want {
		t.Errorf("125 registers cost %v, want %v", got, want)
	}
	if cost(Coil, 2000) != cost(Holding, 125) {
		t.Error("2000 bits are not 250 bytes")
	}
	if cost(Coil, 1) >= cost(Holding, 125) {
		t.Error("a longer answer costs no more")
	}
	if wide := (&unitOptions{wide: true}); w.of(wide, Input, 62) != cost(Holding, 124) {
		t.Error("62 registers of 32 bits are not 248 bytes")
	}
}

// Of any points: each lies whole in exactly one request, nothing is asked
// that the protocol forbids, and the plan does not depend on their order.
func TestAnyPlan(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		types := []string{"uint16", "int32", "float32 CDAB", "float64", "bool"}
		var points []drivers.Point
		for i := range rapid.IntRange(1, 80).Draw(rt, "points") {
			a := Address{Table: Table(rapid.IntRange(0, 3).Draw(rt, "table")), Number: uint16(rapid.IntRange(0, 400).Draw(rt, "number"))}
			typ := "bool"
			if !a.Table.Bits() {
				typ = rapid.SampledFrom(types).Draw(rt, "type")
			}
			p := point(t, a.String(), typ)
			p.Tag, p.Station = tag.ID(i+1), rapid.IntRange(1, 2).Draw(rt, "station")
			p.Period = time.Duration(rapid.IntRange(1, 2).Draw(rt, "period")) * time.Second
			points = append(points, p)
		}
		requests, err := TCP{}.Plan(drivers.Settings{}, points)
		if err != nil {
			rt.Fatal(err)
		}
		seen := map[tag.ID]int{}
		for _, q := range requests {
			r := q.(*request)
			limit := MaxRegisters
			if r.table.Bits() {
				limit = MaxBits
			}
			if r.whole.count > limit || r.whole.count < 1 || len(r.whole.adu) != 12 {
				rt.Fatalf("%s asks for %d", q, r.whole.count)
			}
			for _, p := range q.Points() {
				a := p.Address.(Address)
				seen[p.Tag]++
				if a.Table != r.table || p.Station != int(r.station) || p.Period != r.points[0].Period ||
					a.Number < r.whole.first || int(a.Number)+r.unit.size(a.Table, p.Type) > int(r.whole.first)+r.whole.count {
					rt.Fatalf("%s does not hold %v", q, a)
				}
			}
		}
		for _, p := range points {
			if seen[p.Tag] != 1 {
				rt.Fatalf("%v lies in %d requests", p.Address, seen[p.Tag])
			}
		}
	})
}
