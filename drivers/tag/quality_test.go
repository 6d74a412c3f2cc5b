package tag

import "testing"

// every returns every valid quality: 18 reasons, five flags.
func every() (out []Quality) {
	for r := NeverRead; r <= LocalOverride; r++ {
		for flags := Quality(0); flags < 32; flags++ {
			out = append(out, MakeQuality(r.Status(), r, flags))
		}
	}
	return out
}

func TestEveryQualitySurvivesTheStandards(t *testing.T) {
	seen := map[Foreign]Quality{}
	for _, q := range every() {
		f := q.Foreign()
		if other, twice := seen[f]; twice {
			t.Errorf("%#x and %#x are both %#x %v %c", uint32(q), uint32(other), f.OPCUA, f.NE107, f.HJ212)
		}
		seen[f] = q
		if back, ok := f.Quality(); !ok || back != q {
			t.Errorf("%#x is %#x %v %c abroad and comes back as %#x, %v", uint32(q), f.OPCUA, f.NE107, f.HJ212, uint32(back), ok)
		}
	}
	if len(seen) != 18*32 {
		t.Errorf("%d qualities, want %d", len(seen), 18*32)
	}
}

func TestEveryCodeComesBack(t *testing.T) {
	for r, f := range abroad {
		for _, limits := range []uint32{0, 0x500, 0x600, 0x700} {
			code := f.OPCUA | limits
			q, exact := FromOPCUA(code)
			if !exact || q.Foreign().OPCUA != code || q.Reason() != Reason(r) {
				t.Errorf("OPC UA %#x is %#x (exact %v) and comes back as %#x", code, uint32(q), exact, q.Foreign().OPCUA)
			}
		}
	}
	for s := range NE107(16) {
		if q := FromNE107(s); !q.Valid() || q.Foreign().NE107 != s {
			t.Errorf("NE 107 %v is %#x and comes back as %v", s, uint32(q), q.Foreign().NE107)
		}
	}
	for _, flag := range []byte("NFMSDCTB") {
		if q, ok := FromHJ212(flag); !ok || !q.Valid() || q.Foreign().HJ212 != flag {
			t.Errorf("HJ 212 %c is %#x and comes back as %c", flag, uint32(q), q.Foreign().HJ212)
		}
	}
}

// The codes as the standards have them, written down a second time.
func TestTheTable(t *testing.T) {
	f := func(q Quality, code uint32, set string, flag byte) {
		t.Helper()
		got := q.Foreign()
		if got.OPCUA != code || got.NE107.String() != set || got.HJ212 != flag {
			t.Errorf("%#x is %#08x %v %c abroad, want %#08x %s %c", uint32(q), got.OPCUA, got.NE107, got.HJ212, code, set, flag)
		}
	}
	f(BadNeverRead, 0x80320000, "F", 'B')
	f(BadNoComm, 0x80310000, "F", 'B')
	f(BadDeviceFault, 0x808B0000, "F", 'D')
	f(BadSensor, 0x808C0000, "F", 'D')
	f(BadStale, 0x800A0000, "F", 'B')
	f(BadConfig, 0x80890000, "F", 'D')
	f(MakeQuality(Bad, OutOfService, 0), 0x808D0000, "C", 'F')
	f(MakeQuality(Bad, OutOfService, Maintenance), 0x808D0000, "CM", 'M')
	f(MakeQuality(Bad, FunctionCheck, 0), 0x80AF0000, "C", 'C')
	f(BadRange, 0x803C0000, "FS", 'D')
	f(MakeQuality(Uncertain, Initial, 0), 0x40920000, "S", 'D')
	f(MakeQuality(Uncertain, LastUsable, 0), 0x40900000, "S", 'B')
	f(MakeQuality(Uncertain, Substituted, 0), 0x40910000, "S", 'D')
	f(MakeQuality(Uncertain, NotAccurate, 0), 0x40930000, "S", 'D')
	f(MakeQuality(Uncertain, RangeExceeded, LimitHigh), 0x40940600, "S", 'T')
	f(MakeQuality(Uncertain, RangeExceeded, LimitLow), 0x40940500, "S", 'D')
	f(MakeQuality(Uncertain, SubNormal, Constant), 0x40950700, "S", 'D')
	f(MakeQuality(Uncertain, UncertainPlain, 0), 0x40000000, "S", 'D')
	f(GoodQuality, 0, "-", 'N')
	f(GoodQuality|Maintenance, 0, "M", 'N')
	f(GoodQuality|Test, 0, "C", 'C')
	f(GoodQuality|Forced, 0, "-", 'S')
	f(GoodQuality|Forced|Test, 0, "C", 'S')
	f(BadNoComm|Test, 0x80310000, "FC", 'B')
	f(MakeQuality(Good, LocalOverride, 0), 0x00960000, "-", 'M')
}

// Only a value that may be believed without a word is sent as normal.
func TestNothingElseIsSentAsNormal(t *testing.T) {
	for _, q := range every() {
		normal := q.Reason() == Plain && q&(Forced|Test) == 0
		if f := q.Foreign(); (f.HJ212 == 'N') != normal {
			t.Errorf("%#x is sent as %c", uint32(q), f.HJ212)
		}
		if s := Status(2 - min(q.Foreign().OPCUA>>30, 2)); s != q.Status() {
			t.Errorf("%#x is sent with the severity of status %d", uint32(q), s)
		}
	}
}

// What came from a stranger is never better than its worst part.
func TestStrangersAreNotImproved(t *testing.T) {
	for _, c := range []struct {
		code uint32
		want Quality
	}{
		{0x80050000, BadDeviceFault},
		{0x80000000, BadDeviceFault},
		{0xC0000000, BadDeviceFault},
		{0xffffffff, BadDeviceFault | Constant},
		{0x408F0000, MakeQuality(Uncertain, UncertainPlain, 0)},
		{0x00A60000, GoodQuality},
		{0x00000080, GoodQuality},
		{0x00000300, GoodQuality}, // limit bits without the info type mean nothing
	} {
		if q, exact := FromOPCUA(c.code); q != c.want || exact {
			t.Errorf("OPC UA %#x is %#x, exact %v; want %#x", c.code, uint32(q), exact, uint32(c.want))
		}
	}
	for _, f := range []Foreign{{0, Failure, 'N'}, {0, 0, 'D'}, {0x808B0000, 0, 'N'}, {0, 0, '?'}, {0xC0000000, 0, 'N'}} {
		if q, ok := f.Quality(); ok || !q.Bad() {
			t.Errorf("%#x %v %c is %#x, %v", f.OPCUA, f.NE107, f.HJ212, uint32(q), ok)
		}
	}
	if f := Quality(0xffffffff).Foreign(); f != BadDeviceFault.Foreign() {
		t.Errorf("what is no quality is sent as %#x", f.OPCUA)
	}
}

func FuzzForeign(f *testing.F) {
	f.Add(uint32(0x80310000), uint8(1), byte('B'))
	f.Fuzz(func(t *testing.T, code uint32, set uint8, flag byte) {
		in := Foreign{code, NE107(set), flag}
		q, ok := in.Quality()
		if !q.Valid() {
			t.Fatalf("%#x is no quality", uint32(q))
		}
		if ok && q.Foreign() != in {
			t.Fatalf("%+v comes back as %+v", in, q.Foreign())
		}
	})
}

func TestMakeQualityRefusesWhatDoesNotBelong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a good quality with a bad reason was made")
		}
	}()
	MakeQuality(Good, NoCommunication, 0)
}

func TestValid(t *testing.T) {
	valid := map[Quality]bool{}
	for _, q := range every() {
		if !q.Valid() {
			t.Errorf("%#x is not valid", uint32(q))
		}
		valid[q] = true
	}
	for _, q := range every() {
		for bit := range 32 {
			if x := q ^ 1<<bit; x.Valid() != valid[x] {
				t.Errorf("%#x: valid %v", uint32(x), x.Valid())
			}
		}
	}
}

func TestUsable(t *testing.T) {
	for _, q := range every() {
		want := q.Status() != Bad && q.Reason() != LastUsable && q.Reason() != Initial && q&Forced == 0
		if q.Usable() != want || q.Good() != (q.Status() == Good) || q.Bad() != (q.Status() == Bad) {
			t.Errorf("%#x: usable %v", uint32(q), q.Usable())
		}
	}
}
