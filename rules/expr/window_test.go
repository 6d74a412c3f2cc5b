package expr

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"pgregory.net/rapid"
)

const sec = int64(time.Second)

// film is a program over a story: readings at seconds, and what it said.
type film struct {
	t     *testing.T
	p     *Program
	st    *State
	image []tag.Reading
	now   int64
}

func play(t *testing.T, src, inputs string) *film {
	p := compile(t, src)
	return &film{t: t, p: p, st: p.NewState(), image: image(t, inputs)}
}

// at sets inputs at a time in seconds, steps, and expects.
func (f *film) at(seconds float64, inputs, want string) {
	f.t.Helper()
	f.now = int64(seconds * 1e9)
	for in := range strings.FieldsSeq(inputs) {
		name, text, _ := strings.Cut(in, "=")
		set(f.t, f.image, name, text)
	}
	if got := shown(f.p.Eval(f.st, f.image, tag.Stamp{Mono: f.now})); got != want {
		f.t.Errorf("%s at %v s: %s, want %s", f.p, seconds, got, want)
	}
}

func (f *film) next(want float64) {
	f.t.Helper()
	if got := f.st.Next(); got != int64(want*1e9) {
		f.t.Errorf("%s at %v s: next %v s, want %v", f.p, float64(f.now)/1e9, float64(got)/1e9, want)
	}
}

func TestSince(t *testing.T) {
	f := play(t, "since(a > 5) >= 10 s", "a=1")
	f.at(100, "", "false")
	f.next(0)
	f.at(101.5, "a=6", "false")
	f.next(111.5)
	f.at(111.4999, "", "false")
	f.at(111.5, "", "true")
	f.next(0)
	f.at(112, "a=6x", "-x") // a bad reading ends nothing
	f.at(113, "a=6", "true")
	f.at(114, "a=5", "false")
	f.at(115, "a=6", "false")
	f.at(120, "a=6x", "-x")
	f.at(125, "a=6", "true") // it went on meanwhile
	f.at(126, "a=5x", "-x")
	f.at(127, "a=5", "false")

	f = play(t, "since(c) > 0.7 s", "c=1")
	f.at(1, "", "false")
	f.next(1.700000001)
	f.at(1.7, "", "false")
	f.at(1.700000001, "", "true")

	f = play(t, "10 s <= since(c)", "c=1")
	f.at(1, "", "false")
	f.next(11)
	f.at(11, "", "true")

	f = play(t, "since(c)", "c=0")
	f.at(1, "", "0")
	f.at(2.5, "c=1", "0")
	f.next(3.5)
	f.at(3.4, "", "0")
	f.at(3.5, "", "1")
	f.next(4.5)
	f.at(9.6, "", "7")
	f.at(9.7, "c=1t", "7t")
	f.at(9.8, "c=1f", "7f")
	f.at(9.9, "c=0", "0")
	f.next(0)

	f = play(t, "since(c) >= 0 s", "c=0x")
	f.at(1, "", "-x")
	f.at(2, "c=0", "true")
	f.next(0)
}

func TestStuck(t *testing.T) {
	f := play(t, "stuck(a, 10s)", "a=1x")
	f.at(5, "", "-x")
	f.next(0)
	f.at(6, "a=1", "false")
	f.next(16)
	f.at(15.9, "", "false")
	f.at(16, "", "true")
	f.next(0)
	f.at(17, "a=9x", "-x")
	f.at(18, "a=1", "true")
	f.at(19, "a=2", "false")
	f.next(29)

	f = play(t, "stuck(t1, 10s, 0.5 K)", "t1=20")
	f.at(0, "", "false")
	f.at(4, "t1=20.5", "false")
	f.at(10, "t1=19.5", "true")
	f.at(11, "t1=19.4", "false")
	f.at(12, "t1=19.9", "false")
	f.next(21)
}

func TestOver(t *testing.T) {
	f := play(t, "avg_over(a, 60s)", "a=10")
	f.at(0, "", "- never") // too little was read
	f.next(1)
	f.at(44, "", "- never")
	f.at(45, "", "10 sub") // three quarters
	f.at(59, "", "10 sub")
	f.at(60, "a=70", "10")
	f.at(61, "", "11")
	f.at(61.5, "", "11") // between slots nothing changes
	f.at(61.5, "a=10", "11.5")
	f.at(75, "a=10x", "11.5")
	f.at(76, "", "11.525423728813559 sub")
	f.at(90, "", "12 sub")
	f.at(91, "", "-x") // less than three quarters

	f = play(t, "max_over(a, 60s) > 5", "a=6")
	f.at(0, "", "- never")
	f.at(1, "a=1", "- never")
	f.at(60, "", "true")
	f.at(61, "", "true") // it looks back a slot more
	f.at(62, "", "false")

	f = play(t, "count_over(c, 60s)", "c=1")
	f.at(0, "", "- never")
	for i := range 60 {
		f.at(float64(i)+0.5, fmt.Sprintf("c=%d", i%2), map[bool]string{true: "- never", false: fmt.Sprintf("%d sub", (i+1)/2)}[i < 45])
	}
	f.at(60, "", "30")
	f.at(61, "c=1x", "30")
	f.at(62, "c=1", "29 sub") // it was true before

	f = play(t, "rate(t1, 1min) > 5 °C/min", "t1=20")
	f.at(0, "", "- never")
	f.at(60, "", "- never") // nothing was held at the beginning
	f.at(61, "t1=24.9", "false")
	f.at(61.5, "t1=26", "true")
	f.at(62, "t1=26x", "-x")

	f = play(t, "delta(a, 60s)", "a=20")
	f.at(0, "", "- never")
	f.at(30, "a=25", "- never")
	f.at(61, "", "5")
	f.at(91, "", "0")
	f.at(91, "a=27t", "2t")
}

func TestTimeThatGoesBack(t *testing.T) {
	f := play(t, "since(c) >= 10 s", "c=1")
	f.at(100, "", "false")
	f.at(50, "", "false")
	f.at(math.MinInt64/1e9, "", "false")
	f.at(110, "", "true")
	f.at(100, "", "true")
	f.at(5, "c=0", "false")
	f.at(6, "c=1", "false")
	f.next(120)
}

func TestWindowsInWindows(t *testing.T) {
	f := play(t, "count_over(since(c) >= 5 s, 60s)", "c=0")
	for now := int64(0); now < 60*sec; now = max(f.st.Next(), now+1) {
		f.p.Eval(f.st, f.image, tag.Stamp{Mono: now})
	}
	f.at(70, "c=1", "0")
	f.next(75) // the outer one holds nothing but what is held
	f.at(75, "", "1")
	f.next(76)
}

// naive is a window by its definition: it keeps every value that it was ever
// given.
type naive struct {
	kind  windowKind
	slot  int64
	first int64
	list  []held
}

type held struct {
	at int64
	f  float64
	q  tag.Quality
}

func (n *naive) give(now int64, f float64, q tag.Quality) {
	if q.Bad() {
		f = 0
	}
	if len(n.list) == 0 {
		n.first = now
		n.list = []held{{now, 0, tag.BadNeverRead}}
	}
	if last := n.list[len(n.list)-1]; last.f != f || last.q != q {
		n.list = append(n.list, held{now, f, q})
	}
}

// usable returns for how long the argument was usable in a span, and its integral.
func (n *naive) usable(from, to int64) (ns int64, integral float64) {
	for i, h := range n.list {
		end := to
		if i+1 < len(n.list) {
			end = min(end, n.list[i+1].at)
		}
		if start := max(from, h.at); end > start && h.q.Usable() {
			ns += end - start
			integral += h.f * float64(end-start)
		}
	}
	return ns, integral
}

// before returns what was held just before an instant.
func (n *naive) before(at int64) held {
	out := held{q: tag.BadNeverRead}
	for _, h := range n.list {
		if h.at < at {
			out = h
		}
	}
	return out
}

func (n *naive) says(now int64) (float64, tag.Quality) {
	last := n.list[len(n.list)-1]
	start := now - now%n.slot // of the current slot
	at := max(last.at, start, n.first)
	start = at - at%n.slot
	begin := start - Slots*n.slot
	part := float64(n.slot-(at-start)) / float64(n.slot) // of the oldest slot

	usable, integral, weight := int64(0), 0.0, 0.0
	oldUsable, oldIntegral := n.usable(begin, begin+n.slot)
	usable, integral = n.usable(begin+n.slot, at)
	missed := at - begin - n.slot - usable + int64(float64(n.slot-oldUsable)*part)
	integral += oldIntegral * part
	weight = float64(usable) + float64(oldUsable)*part

	q, count, top, low := tag.GoodQuality, 0.0, math.Inf(-1), math.Inf(1)
	known, on := false, false
	for i, h := range n.list {
		end := at
		if i+1 < len(n.list) {
			end = n.list[i+1].at
		}
		if !h.q.Usable() {
			continue
		}
		if known && !on && h.f != 0 && h.at >= begin {
			count++
		}
		known, on = true, h.f != 0
		if end >= begin {
			top, low = max(top, h.f), min(low, h.f)
			if n.kind != winDelta && n.kind != winRate || end >= start {
				q = worst(q, h.q)
			}
		}
	}
	if 4*missed > Slots*n.slot {
		return 0, bad(last.q)
	}
	if missed > 0 {
		q = worst(q, subNormal)
	}
	switch n.kind {
	case winAvg:
		return integral / weight, q
	case winMax:
		return top, q
	case winMin:
		return low, q
	case winCount:
		return count, q
	}
	for i := range int64(Slots + 1) {
		if h := n.before(start - i*n.slot); h.q.Usable() {
			q = worst(q, h.q)
		}
	}
	ref := n.before(begin)
	if !ref.q.Usable() || !last.q.Usable() {
		return 0, bad(last.q)
	}
	if n.kind == winDelta {
		return last.f - ref.f, q
	}
	return (last.f - ref.f) / (float64(at-begin) / 1e9), q
}

var windowSources = map[windowKind]string{
	winDelta: "delta(a, 1min)", winRate: "rate(a, 1min)", winAvg: "avg_over(a, 1min)", winMax: "max_over(a, 1min)", winMin: "min_over(a, 1min)", winCount: "count_over(c, 1min)",
}

// story draws readings of a and c with their times.
func story(t *rapid.T) []held {
	now, out := rapid.Int64Range(0, 100*sec).Draw(t, "start"), []held{}
	qualities := []tag.Quality{tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, letters['x'], letters['u'], letters['t'], letters['f'], letters['l']}
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		step := rapid.SampledFrom([]int64{0, 1, sec / 3, sec, 2 * sec, 7*sec + 5, 30 * sec, 200 * sec}).Draw(t, "step")
		now += step
		if rapid.IntRange(0, 9).Draw(t, "boundary") == 0 {
			now += (sec - now%sec) % sec
		}
		out = append(out, held{now, float64(rapid.IntRange(-3, 3).Draw(t, "value")), rapid.SampledFrom(qualities).Draw(t, "quality")})
	}
	return out
}

func put(image []tag.Reading, h held) {
	for _, id := range []int{1, 3} {
		image[id].Quality = h.q
	}
	image[1].Value, _ = tag.Float64Value(h.f)
	image[3].Value = tag.BoolValue(h.f > 0)
}

func TestWindowsAreWhatTheyAreDefinedAs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := story(t)
		for kind, src := range windowSources {
			p, problems := Compile(src, testEnv())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			st, n := p.NewState(), &naive{kind: kind, slot: p.windows[0].slot}
			image := make([]tag.Reading, len(table)+1)
			for i, h := range list {
				put(image, h)
				if i > 0 && h.at == list[i-1].at {
					continue // two at one instant are two steps; the definition has one
				}
				f := h.f
				if kind == winCount {
					f = one(h.f > 0)
				}
				n.give(h.at, f, h.q)
				_, q := p.Eval(st, image, tag.Stamp{Mono: h.at})
				want, wantQ := n.says(h.at)
				got := st.windows[0].value
				if q != wantQ || !q.Bad() && math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
					t.Fatalf("%s at %d: %v %#x, want %v %#x\n%v", src, h.at, got, uint32(q), want, uint32(wantQ), n.list)
				}
			}
		}
	})
}

const everyWindow = "since(c) >= 5 s and stuck(a, 5s) or avg_over(a, 1min) + max_over(a, 1min) + min_over(a, 1min) > 2 and rate(a, 10s) > 0.1 or count_over(c, 1min) + delta(a, 1min) > 2"

// same compares two states bit by bit.
func same(a, b *State, now int64) bool { return bytes.Equal(a.Append(nil, now), b.Append(nil, now)) }

// Steps in between change nothing; nor does a hand-over, at any step.
func TestExtraStepsAndHandOversChangeNothing(t *testing.T) {
	p := compile(t, everyWindow)
	rapid.Check(t, func(t *rapid.T) {
		list := story(t)
		image := make([]tag.Reading, len(table)+1)
		a, b := p.NewState(), p.NewState()
		step := func(st *State, at int64) string {
			v, q := p.Eval(st, image, tag.Stamp{Mono: at})
			return fmt.Sprint(v, uint32(q))
		}
		for i, h := range list {
			put(image, h)
			got, want := step(a, h.at), step(b, h.at)
			if got != want {
				t.Fatalf("at %d: %s, without the steps in between %s", h.at, got, want)
			}
			if rapid.Bool().Draw(t, "hand over") {
				bytes := a.Append(nil, h.at)
				next := a.Next()
				a = p.NewState()
				if err := a.Restore(bytes, 0); err != nil {
					t.Fatal(err)
				}
				if got := step(a, h.at); got != want || a.Next() != next || !same(a, b, h.at) {
					t.Fatalf("at %d: %s next %d after a hand-over, want %s next %d", h.at, got, a.Next(), want, next)
				}
			}
			if i+1 == len(list) {
				break
			}
			end := list[i+1].at
			for at := h.at; rapid.IntRange(0, 3).Draw(t, "more") > 0; {
				if at += rapid.Int64Range(0, 10*sec).Draw(t, "later"); at >= end {
					break
				}
				step(a, at)
			}
		}
	})
}

// What Next says is kept: between two instants that it names nothing changes.
func TestNextNamesEveryChange(t *testing.T) {
	for _, src := range []string{everyWindow, "since(c)", "since(c) > 3.3 s", "stuck(a, 5s)", "avg_over(a, 1min)", "rate(a, 10s)", "count_over(since(c) > 2 s, 10s)"} {
		p := compile(t, src)
		rapid.Check(t, func(t *rapid.T) {
			list := story(t)
			image := make([]tag.Reading, len(table)+1)
			st := p.NewState()
			for i, h := range list {
				put(image, h)
				v, q := p.Eval(st, image, tag.Stamp{Mono: h.at})
				end := h.at + 100*sec
				if i+1 < len(list) {
					end = list[i+1].at
				}
				for now := h.at; ; {
					next := st.Next()
					to := end
					if next != 0 {
						to = min(next, end)
					}
					if to <= now {
						break
					}
					for _, at := range []int64{now + (to-now)/2, to - 1} {
						if w, p := p.Eval(st, image, tag.Stamp{Mono: at}); w != v || p != q {
							t.Fatalf("%s: at %d it becomes %v %#x from %v %#x, and next was %d", src, at, w, uint32(p), v, uint32(q), next)
						}
					}
					if to == end {
						break
					}
					now = to
					v, q = p.Eval(st, image, tag.Stamp{Mono: now})
				}
			}
		})
	}
}

// After a gap it is as if the arguments had been bad in between.
func TestAGapIsBad(t *testing.T) {
	p := compile(t, everyWindow)
	rapid.Check(t, func(t *rapid.T) {
		image := make([]tag.Reading, len(table)+1)
		a, now := p.NewState(), int64(0)
		for _, h := range story(t) {
			put(image, h)
			p.Eval(a, image, tag.Stamp{Mono: h.at})
			now = h.at
		}
		down := rapid.SampledFrom([]int64{1, sec, 20 * sec, 1000 * sec}).Draw(t, "down")
		restored := p.NewState()
		if err := restored.Restore(a.Append(nil, now), time.Duration(down)); err != nil {
			t.Fatal(err)
		}
		// The same instant has another Mono after a restart, by whole minutes here: slots keep their places.
		boot := rapid.Int64Range(-100, 100).Draw(t, "boot") * 60 * sec
		was := held{0, image[1].Value.Float(), image[1].Quality}
		put(image, held{0, 0, tag.BadNeverRead})
		p.Eval(a, image, tag.Stamp{Mono: now})
		put(image, was)
		v, q := p.Eval(a, image, tag.Stamp{Mono: now + down})
		w, r := p.Eval(restored, image, tag.Stamp{Mono: now + down + boot})
		if v != w || q != r || !bytes.Equal(a.Append(nil, now+down), restored.Append(nil, now+down+boot)) {
			t.Fatalf("after %d ns %v %#x, restored %v %#x", down, v, uint32(q), w, uint32(r))
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	p := compile(t, everyWindow)
	st := p.NewState()
	in := image(t, "a=1 c=1")
	for i := range int64(100) {
		in[1].Value, _ = tag.Float64Value(float64(i))
		p.Eval(st, in, tag.Stamp{Mono: i * sec})
	}
	good := st.Append(nil, 100*sec)
	for n := 1; n < len(good); n++ {
		if err := p.NewState().Restore(good[:n], 0); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if err := p.NewState().Restore(append(good[:len(good):len(good)], 0), 0); !errors.Is(err, ErrSnapshot) {
		t.Error("a byte too many was taken")
	}
	// Of another expression it takes what is the same, and starts the rest.
	other := compile(t, "avg_over(a, 1min) > 3 or avg_over(b, 1min) > 3")
	two := other.NewState()
	if err := two.Restore(good, 0); err != nil {
		t.Fatal(err)
	}
	other.Eval(two, in, tag.Stamp{Mono: 100 * sec})
	if two.windows[0].quality.Bad() || !two.windows[1].quality.Bad() {
		t.Errorf("%#x and %#x", uint32(two.windows[0].quality), uint32(two.windows[1].quality))
	}
}

func FuzzRestore(f *testing.F) {
	src := compile(f, everyWindow)
	st := src.NewState()
	in := image(f, "a=1 c=1 b=2")
	for i := range int64(100) {
		src.Eval(st, in, tag.Stamp{Mono: i * sec})
	}
	f.Add(st.Append(nil, 100*sec), int64(0), int64(0))
	f.Add(st.Append(nil, 105*sec), 5*sec, 7*sec)
	exposed := exposedOf(f)
	st = exposed.NewState()
	for i := range int64(100) {
		exposed.Eval(st, in, tag.Stamp{Wall: 1_770_000_000*sec + i*777*sec, Mono: i * 777 * sec})
	}
	f.Add(st.Append(nil, 100*777*sec), int64(0), int64(0))
	f.Add(st.Append(nil, 1000*777*sec), 5*sec, 7*sec)
	f.Fuzz(func(t *testing.T, b []byte, down, now int64) {
		now = min(max(now, -1e18), 1e18)
		for _, src := range []*Program{src, exposed} {
			st, now := src.NewState(), now
			if st.Restore(b, time.Duration(down)) != nil {
				continue
			}
			for range 3 {
				v, q := src.Eval(st, in, tag.Stamp{Wall: now ^ down, Mono: now})
				if !q.Valid() || q.Bad() != (v == tag.Value{}) {
					t.Fatalf("%v %#x", v, uint32(q))
				}
				now += 7 * sec
			}
			again := src.NewState()
			if err := again.Restore(st.Append(nil, now), 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// After a stop of unknown length what stood goes on from where it was, and a
// window slot by slot begins anew: what is in it is not known.
func TestAStopOfUnknownLength(t *testing.T) {
	p := compile(t, "since(c) > 60 s or stuck(a, 60s) or avg_over(a, 10s) > 3")
	st, in := p.NewState(), image(t, "a=1 c=1")
	p.Eval(st, in, tag.Stamp{Mono: 5 * sec})
	p.Eval(st, in, tag.Stamp{Mono: 45 * sec})
	next := p.NewState()
	if err := next.Restore(st.Append(nil, 55*sec), -1); err != nil {
		t.Fatal(err)
	}
	p.Eval(next, in, tag.Stamp{Mono: sec})
	if !next.windows[2].quality.Bad() {
		t.Errorf("avg_over is %#x", uint32(next.windows[2].quality))
	}
	if w := next.windows[0]; w.value < 50 || w.value > 50.1 {
		t.Errorf("since is %v s, want 50", w.value)
	}
	if at := p.windows[1].next(&next.windows[1], sec); at != 11*sec-1 {
		t.Errorf("stuck is looked at again at %d", at)
	}
}
