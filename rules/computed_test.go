package rules

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules/expr"
)

// computedSet makes a set of the tags named and of computed ones, each written
// "name: expression".
func computedSet(t testing.TB, tags []string, list ...string) Set {
	t.Helper()
	var set Set
	for _, c := range list {
		name, _, _ := strings.Cut(c, ": ")
		tags = append(tags, name)
	}
	set.Tags = tagsOf(tags...)
	env := &expr.Env{Tag: func(name string) (expr.Tag, bool) {
		i := slices.IndexFunc(set.Tags, func(t Tag) bool { return string(t.Name) == name })
		kind := expr.Number
		if strings.HasPrefix(name, "is-") {
			kind = expr.Bool
		}
		return expr.Tag{ID: tag.ID(i), Kind: kind}, i > 0
	}}
	for _, c := range list {
		name, text, _ := strings.Cut(c, ": ")
		p, problems := expr.Compile(text, env)
		if len(problems) > 0 {
			t.Fatal(c, problems)
		}
		set.Computed = append(set.Computed, Computed{Tag: tagNo(set, name), Program: p})
	}
	return set
}

func tagNo(set Set, name string) tag.ID {
	return tag.ID(slices.IndexFunc(set.Tags, func(t Tag) bool { return string(t.Name) == name }))
}

func above(set Set, name string, limit float64) Alarm {
	return Alarm{Name: name + ".high", Cond: Condition{tagNo(set, name), GE, limit}, Priority: Low}
}

func TestComputed(t *testing.T) {
	set := computedSet(t, []string{"a", "b"}, "is-far: spread > 10", "spread: abs(a - b)")
	set.Alarms = []Alarm{above(set, "spread", 5), {Name: "far", Cond: Condition{tagNo(set, "is-far"), EQ, 1}, Priority: High}}
	r := play(t, set, `
		0s a=1 b=1
		1s a=7      => raised spread.high#1
		2s b=20     => raised far#1
		3s b=bad    ?far=unacked ?spread.high=unacked
		4s b=18     ?far=unacked
		5s b=8      => returned spread.high#1; returned far#1`)
	if got := r.img.Readings()[tagNo(set, "spread")]; got.Value.Float() != 1 || !got.Quality.Good() || got.Received != rigStamp(5*s) {
		t.Errorf("the image has %+v", got)
	}
	if len(r.out.Computed) != 2 || r.out.Computed[0].Tag != tagNo(set, "spread") || r.out.Computed[1].Tag != tagNo(set, "is-far") {
		t.Errorf("handed out: %+v", r.out.Computed)
	}
	r.play(`6s a=9 b=10`) // the spread stays as it was
	if len(r.out.Computed) != 0 {
		t.Errorf("handed out: %+v", r.out.Computed)
	}
}

// Whatever is between two readings, a program that looks back says the same at
// the same instants; and what is ahead in the image is not seen before its time.
func TestComputedLooksBack(t *testing.T) {
	set := computedSet(t, []string{"a", "b"}, "mean: avg_over(a, 60s) + b", "is-still: stuck(a, 30s)")
	set.Alarms = []Alarm{above(set, "mean", 50), {Name: "still", Cond: Condition{tagNo(set, "is-still"), EQ, 1}, Priority: High}}
	run := func(extra int64) (all []Event) {
		dice, at := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, uint64(extra)))
		e, err := New(set)
		if err != nil {
			t.Fatal(err)
		}
		m := NewImage(set)
		var out Outcome
		step := func(now time.Duration) {
			Step(e, m, rigStamp(now), &out)
			all = append(all, slices.Clone(out.Events)...)
		}
		now := time.Duration(0)
		for range 300 {
			next := now + time.Duration(dice.IntN(40_000))*time.Millisecond
			for range extra {
				step(now + time.Duration(at.Int64N(int64(next-now)+1)))
			}
			now = next
			for id := tag.ID(1); id <= 2; id++ {
				v, _ := tag.Float64Value(float64(dice.IntN(int(90 - 60*(id-1)))))
				q := tag.GoodQuality
				if dice.IntN(20) == 0 {
					q = tag.BadSensor
				}
				m.Put(tag.Reading{Tag: id, Value: v, Quality: q, Received: rigStamp(now)})
			}
			step(now)
		}
		return all
	}
	want := run(0)
	kinds := map[string]int{}
	for _, v := range want {
		kinds[fmt.Sprint(v.Rule, v.Kind, v.At.Mono%int64(time.Second) != 0)]++
	}
	if len(want) < 50 {
		t.Fatalf("only %d events: %v", len(want), kinds)
	}
	for _, extra := range []int64{1, 3} {
		if got := run(extra); !reflect.DeepEqual(got, want) {
			t.Errorf("with %d steps in between there are %d events, not %d, or others", extra, len(got), len(want))
		}
	}
}

func TestComputedHandOver(t *testing.T) {
	set := computedSet(t, []string{"a"}, "mean: avg_over(a, 60s)")
	set.Alarms = []Alarm{above(set, "mean", 50)}
	const before = `
		0s a=0
		60s a=100`
	plain := newRig(t, set)
	plain.play(before + "\n70s a=100")
	moved := newRig(t, set)
	moved.play(before + "\n70s a=100\n70s handover")
	for d := 71 * s; d < 110*s; d += s {
		for _, r := range []*rig{plain, moved} {
			Step(r.e, r.img, rigStamp(d), &r.out)
		}
		if !reflect.DeepEqual(plain.out, moved.out) {
			t.Fatalf("after a hand-over, at %v: %+v, not %+v", d, moved.out, plain.out)
		}
		if len(plain.out.Events) > 0 {
			return
		}
	}
	t.Error("the alarm was not raised")
}

func TestComputedRefused(t *testing.T) {
	set := computedSet(t, []string{"a"}, "x: a + y", "y: z * 2", "z: x - 1", "is-w: a > 1")
	for name, c := range map[string]struct {
		change func(s *Set)
		want   string
	}{
		"circle":  {func(*Set) {}, "computed tags: go in a circle: x looks at y looks at z looks at x"},
		"twice":   {func(s *Set) { s.Computed[0].Tag = s.Computed[1].Tag }, "is computed twice"},
		"none":    {func(s *Set) { s.Computed[0].Program = nil }, "has no program"},
		"no tag":  {func(s *Set) { s.Computed[0].Tag = 0 }, "is not in the set"},
		"outside": {func(s *Set) { s.Tags = s.Tags[:5]; s.Computed = s.Computed[2:3] }, "looks at a tag that is not in the set"},
	} {
		t.Run(name, func(t *testing.T) {
			mine := set
			mine.Tags, mine.Computed = slices.Clone(set.Tags), slices.Clone(set.Computed)
			c.change(&mine)
			if name == "outside" {
				mine.Tags, mine.Computed = mine.Tags[:2], []Computed{{Tag: 1, Program: set.Computed[2].Program}}
			}
			if _, err := New(mine); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// One that panics is bad from then on, alone.
func TestComputedPanics(t *testing.T) {
	set := computedSet(t, []string{"a"}, "x: a + 1", "y: x + 1", "z: a + 2")
	set.Alarms = []Alarm{above(set, "y", 50), above(set, "z", 50), {Name: "y.not-watched", Cond: Condition{Tag: tagNo(set, "y")}, NotWatched: true, Priority: Low}}
	r := play(t, set, `0s a=1`)
	r.e.computer.all[0].program = nil
	r.play(`
		1s a=100 => raised rules.broken#1; raised y.not-watched#1; raised z.high#1
		2s a=1   => returned z.high#1`)
	if r.img.Readings()[tagNo(set, "x")].Quality.Good() {
		t.Error("x is good")
	}
}

// A rule that panics on a computed reading keeps no other rule from it.
func TestRulePanicsOnComputed(t *testing.T) {
	set := computedSet(t, []string{"a"}, "x: a + 1")
	one := above(set, "x", 50)
	two, three := one, one
	two.Name, three.Name = "two", "three"
	set.Alarms = []Alarm{one, two, three}
	r := play(t, set, `0s a=1`)
	r.e.alarms[1].op = 99
	r.play(`1s a=100 => raised x.high#1; raised rules.broken#1; raised three#1`)
	if len(r.out.Computed) != 1 {
		t.Errorf("%+v", r.out.Computed)
	}
}

func TestComputedAllocatesNothing(t *testing.T) {
	set := computedSet(t, []string{"a", "b"}, "mean: avg_over(a, 60s)", "worst: max(mean, b)")
	set.Alarms = []Alarm{above(set, "worst", 1e9)}
	e, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	m := NewImage(set)
	var out Outcome
	n := 0
	if got := testing.AllocsPerRun(200, func() {
		n++
		v, _ := tag.Float64Value(float64(n))
		now := rigStamp(time.Duration(n) * 300 * time.Millisecond)
		m.Put(tag.Reading{Tag: 1, Value: v, Quality: tag.GoodQuality, Received: now})
		m.Put(tag.Reading{Tag: 2, Value: v, Quality: tag.GoodQuality, Received: now})
		Step(e, m, now, &out)
	}); got != 0 {
		t.Errorf("%v allocations in a step", got)
	}
}
