package rules

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"davy/drivers/tag"
)

// permitSet is lockSet with a bypass of at most 10 s by an engineer.
func permitSet(m, n int, change func(*Interlock)) Set {
	return lockSet(m, n, func(l *Interlock) {
		manual(l)
		l.Bypass = Permit{Roles: []string{"engineer"}, AtMost: 10 * s}
		if change != nil {
			change(l)
		}
	})
}

func TestBypass(t *testing.T) {
	second := func(l *Interlock) { l.Bypass.Second = []string{"leader"} }
	stays := func(l *Interlock) { l.Bypass.AlarmOnly = true }
	long := func(l *Interlock) { l.Bypass.AtMost = time.Hour }
	both := func(f ...func(*Interlock)) func(*Interlock) {
		return func(l *Interlock) {
			for _, f := range f {
				f(l)
			}
		}
	}
	const began = "0s a=1 b=1 c=1 => armed L\n1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed\n"
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"reminder, and the end by its time": {permitSet(2, 3, nil), began + `
			2s ?L=armed,a-9s,degraded
			9s => reminded L a 2s
			11s ?L=armed => unbypassed L a; restored L`},
		"one long step: each at its own time": {permitSet(2, 3, nil), began + `
			99s => reminded L a 2s@9s; unbypassed L a@11s; restored L@11s`},
		"ended by a person": {permitSet(2, 3, nil), began + `
			3s unbypass:L:b!not-bypassed unbypass:L:a:~zhao ?L=armed => unbypassed L a by zhao; restored L
			4s unbypass:L:a!not-bypassed
			60s`},
		"2 of 3 becomes 1 of 2": {permitSet(2, 3, nil), began + `
			2s a=100 ?L=armed,a-9s,degraded
			3s b=100 => tripped L#1 first=b votes=b; demand fan by L`},
		"3 of 3 becomes 2 of 2": {permitSet(3, 3, nil), began + `
			3s b=100 ?L=armed,a-8s,degraded
			4s c=100 => tripped L#1 first=b votes=b,c; demand fan by L`},
		"1 of 2 becomes 1 of 1": {permitSet(1, 2, nil), `
			0s a=1 b=1 => armed L
			1s bypass:L:a:10s a=100 => tripped L#1 first=a votes=a; demand fan by L; bypassed L a 10s by li; degraded L a!bypassed
			2s reset:L ?L=armed,a-9s,degraded => reset L#1; release fan by L
			3s b=100 => tripped L#2 first=b votes=b; demand fan by L`},
		"of one none is left": {permitSet(1, 1, nil), `
			0s a=1 => armed L
			1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed
			2s a=100 ?L=armed,out,a-9s,degraded
			3s a=bad ?L=armed,out,a-8s,degraded
			10s a=1 => reminded L a 2s@9s
			11s ?L=armed => unbypassed L a; restored L`},
		"what stands at its end trips, since it stood": {permitSet(2, 3, nil), began + `
			2s a=100
			3s b=1
			4s b=100 => tripped L#1 first=b votes=b; demand fan by L
			5s b=1 reset:L => reset L#1; release fan by L
			6s b=1
			11s => reminded L a 2s@9s; unbypassed L a; restored L
			12s b=100 => tripped L#2 first=a votes=a,b; demand fan by L`},
		"a channel that was bad meanwhile is so since then": {permitSet(1, 1, long), `
			0s a=1 => armed L
			1s bypass:L:a:1m => bypassed L a 1m0s by li; degraded L a!bypassed
			2s a=bad ?L=armed,out,a-59s,degraded
			30s unbypass:L:a => unbypassed L a by li; tripped L#1 first=a votes=a!bad; demand fan by L`},
		"a bad channel is bypassed, and is back": {permitSet(2, 3, nil), `
			0s a=bad b=1 c=1 => armed L
			10s => degraded L a!bad
			12s bypass:L:a:10s ?L=armed,a-10s,degraded => bypassed L a 10s by li
			13s a=1
			22s => reminded L a 2s@20s; unbypassed L a; restored L`},
		"all of the rest bad is all bad": {permitSet(2, 3, func(l *Interlock) { l.Bad = LeftOut; long(l) }), `
			0s a=1 b=bad c=bad => armed L
			1s bypass:L:a:1m => bypassed L a 1m0s by li; degraded L a!bypassed
			10s => degraded L b!bad; degraded L c!bad; tripped L#1 first=b votes=b!bad,c!bad; demand fan by L
			11s reset:L!still-standing`},
		"what is bypassed is not first-out, though it was bad first": {permitSet(2, 3, long), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:1h => bypassed L a 1h0m0s by li; degraded L a!bypassed
			2s a=bad
			3s b=bad
			13s => degraded L b!bad; tripped L#1 first=b votes=b!bad; demand fan by L`},
		"a bypass takes the place of a test": {permitSet(2, 3, nil), began + `
			2s a=test:1 ?L=armed,a-9s,degraded
			3s a=1
			4s b=test:1
			9s => reminded L a 2s
			11s => unbypassed L a; degraded L b!test`},
		"no bypass beside a channel in test": {permitSet(2, 3, second), `
			0s a=1 b=test:1 c=1 => armed L; degraded L b!test
			1s bypass:L:a:10s!bypass-other-channel
			2s bypass:L:b:10s => asked L b 10s by li
			3s b=1 a=test:1 confirm:L:b!bypass-other-channel => degraded L a!test
			4s a=1 confirm:L:b => restored L; bypassed L b 10s by li+wang; degraded L b!bypassed`},
		"a trip: a person may reset it behind the bypass": {permitSet(1, 1, nil), `
			0s a=100 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s bypass:L:a:10s ?L=tripped,out,a-10s,degraded,ready => bypassed L a 10s by li; degraded L a!bypassed
			2s reset:L ?L=armed,out,a-9s,degraded => reset L#1; release fan by L
			11s => reminded L a 2s@9s; unbypassed L a; restored L; tripped L#2 first=a votes=a; demand fan by L`},
		"a trip: it does not reset itself by a bypass": {permitSet(1, 2, func(l *Interlock) { l.ManualReset = false }), `
			0s a=100 b=1 => armed L; tripped L#1 first=a votes=a; demand fan by L
			1s bypass:L:a:10s ?L=tripped,a-10s,degraded,ready => bypassed L a 10s by li; degraded L a!bypassed
			3s a=1 => reset L#1; release fan by L
			4s b=100 => tripped L#2 first=b votes=b; demand fan by L`},
		"it stays, and is an alarm": {permitSet(2, 3, stays), began + `
			9s => reminded L a 2s
			11s ?L=armed,a-0s!,degraded ?L.bypass-overdue=unacked => overdue L a; raised L.bypass-overdue#1
			50s handover ?L=armed,a-0s!,degraded
			60s restart:5s ?L.bypass-overdue=unacked
			61s a=1 b=1 c=1 ?L=armed,a-0s!,degraded => armed L
			70s bypass:L:b:10s!bypass-other-channel bypass:L:a:10s!already-bypassed unbypass:L:a => unbypassed L a by li; returned L.bypass-overdue#1; restored L`},

		"a second person": {permitSet(2, 3, second), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:10s ?L=armed,a-10m0s? => asked L a 10s by li
			2s bypass:L:b:10s!bypass-other-channel bypass:L:a:10s!already-asked
			3s confirm:L:b!bypass-none-waiting confirm:L:a:li:s2!bypass-same-person confirm:L:a:wang:s1!bypass-same-session
			4s confirm:L:a:zhao:s2!needs-role confirm:L:a:~wang:s2!needs-proved
			60s a=100 ?L=armed,a-9m1s?
			61s b=1 confirm:L:a ?L=armed,a-10s,degraded => bypassed L a 10s by li+wang; degraded L a!bypassed
			71s => reminded L a 2s@1m9s; unbypassed L a; restored L`},
		"the second is too late": {permitSet(2, 3, second), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:10s => asked L a 10s by li
			601s => unbypassed L a
			602s confirm:L:a!bypass-too-late confirm:L:b!bypass-none-waiting
			603s handover confirm:L:a!bypass-too-late
			604s bypass:L:a:9s => asked L a 9s by li
			605s unbypass:L:a => unbypassed L a by li
			606s confirm:L:a!bypass-none-waiting`},
		"the second may be anybody of the role": {permitSet(2, 3, second), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:10s:chen:x => asked L a 10s by chen
			2s handover
			3s confirm:L:a:wang:x!bypass-same-session confirm:L:a:chen:y!bypass-same-person confirm:L:a:wang:y => bypassed L a 10s by chen+wang; degraded L a!bypassed`},

		"hand-over": {permitSet(2, 3, nil), began + `
			2s handover ?L=armed,a-9s,degraded
			9s handover => reminded L a 2s
			10s handover ?L=armed,a-1s,degraded
			11s => unbypassed L a; restored L`},
		"restart: the time down counts": {permitSet(2, 3, nil), began + `
			7s restart:4s ?L=starting,a-4s
			8s a=100 b=1 c=1 ?L=armed,a-3s,degraded => armed L
			9s => reminded L a 2s
			11s => unbypassed L a; restored L`},
		"restart: an unknown time down takes nothing": {permitSet(2, 3, nil), began + `
			3s restart:-1s
			9s a=1 b=1 c=1 => reminded L a 2s; armed L
			10s
			11s => unbypassed L a; restored L`},
		"restart: it ended meanwhile": {permitSet(1, 1, nil), `
			0s a=1 => armed L
			1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed
			60s restart:59s ?L=starting => unbypassed L a
			61s a=100 => armed L; restored L; tripped L#1 first=a votes=a; demand fan by L`},
		"restart: the reminder came due meanwhile": {permitSet(1, 1, nil), `
			0s a=1 => armed L
			1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed
			10s restart:6s => reminded L a 1s
			11s => unbypassed L a`},
		"restart: one that waits": {permitSet(2, 3, second), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:10s => asked L a 10s by li
			5m restart:4m ?L=starting,a-5m1s?
			5m1s a=1 b=1 c=1 confirm:L:a => armed L; bypassed L a 10s by li+wang; degraded L a!bypassed`},
		"restart: too late meanwhile": {permitSet(2, 3, both(second, stays)), `
			0s a=1 b=1 c=1 => armed L
			1s bypass:L:a:10s => asked L a 10s by li
			20m restart:15m => unbypassed L a
			20m1s a=1 b=1 c=1 confirm:L:a!bypass-too-late => armed L`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

// Every way in which a bypass is refused, and that it changes nothing.
func TestBypassRefused(t *testing.T) {
	set := permitSet(2, 3, nil)
	set.Interlocks[0].Channels[2].Manual = true
	none := lockSet(1, 1, nil).Interlocks[0]
	none.Name = "N"
	set.Interlocks = append(set.Interlocks, none)
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 500}, Priority: Low}}
	r := play(t, set, `0s a=1 b=1 c=1 => armed L; armed N`)
	before := r.e.Snapshot(nil, rigStamp(0))
	good := Command{Verb: Bypass, Rule: "L", Channel: "a", Who: "li", Proved: true, Note: "n", Roles: []string{"fitter", "engineer"}, For: 10 * s}
	for _, c := range []struct {
		code   string
		change func(*Command)
		args   map[string]any
	}{
		{"unknown-rule", func(c *Command) { c.Rule = "X" }, nil},
		{"not-interlock", func(c *Command) { c.Rule = "hi" }, nil},
		{"unknown-channel", func(c *Command) { c.Channel = "d" }, map[string]any{"channel": "d"}},
		{"unknown-channel", func(c *Command) { c.Channel = "" }, map[string]any{"channel": ""}},
		{"bypass-not-allowed", func(c *Command) { c.Rule = "N" }, nil},
		{"bypass-manual", func(c *Command) { c.Channel = "c" }, map[string]any{"channel": "c"}},
		{"needs-proved", func(c *Command) { c.Proved = false }, nil},
		{"needs-proved", func(c *Command) { c.Who = "" }, nil},
		{"needs-role", func(c *Command) { c.Roles = []string{"leader"} }, map[string]any{"roles": "engineer"}},
		{"needs-reason", func(c *Command) { c.Note = " \t" }, nil},
		{"needs-time", func(c *Command) { c.For = 0 }, nil},
		{"needs-time", func(c *Command) { c.For = -1 }, nil},
		{"bypass-too-long", func(c *Command) { c.For = 10*s + 1 }, map[string]any{"most": "10s"}},
		{"bypass-none-waiting", func(c *Command) { c.Verb = Confirm }, map[string]any{"channel": "a"}},
		{"not-bypassed", func(c *Command) { c.Verb = EndBypass }, map[string]any{"channel": "a"}},
	} {
		cmd := good
		c.change(&cmd)
		var refused *RefusedError
		if err := r.e.Do(&Input{Now: rigStamp(0), Image: r.img.Readings()}, cmd, &r.out); !errors.As(err, &refused) || refused.Code != c.code {
			t.Errorf("%+v: %v, want %s", cmd, err, c.code)
			continue
		}
		want := maps.Clone(c.args)
		if want == nil {
			want = map[string]any{}
		}
		if want["rule"] = cmd.Rule; !maps.Equal(refused.Args, want) {
			t.Errorf("%s: %v, want %v", c.code, refused.Args, want)
		}
		if after := r.e.Snapshot(nil, rigStamp(0)); string(after) != string(before) {
			t.Errorf("%s: something changed", c.code)
		}
	}
	if err := r.e.Do(&Input{Now: rigStamp(0), Image: r.img.Readings()}, good, &r.out); err != nil {
		t.Error(err)
	}
	v := r.out.Events[0]
	if v.Kind != BypassBegan || v.Channel != "a" || v.Who != "li" || !v.Proved || v.Note != "n" || v.For != 10*s || v.Tag != 1 || v.Limit != 100 || !r.out.Durable {
		t.Errorf("%+v", v)
	}
	// A confirmation of another time than was asked for is none.
	set = permitSet(2, 3, func(l *Interlock) { l.Bypass.Second = []string{"leader"} })
	r = play(t, set, "0s a=1 b=1 c=1 bypass:L:a:5s => armed L; asked L a 5s by li")
	c := Command{Verb: Confirm, Rule: "L", Channel: "a", Who: "wang", Proved: true, Session: "s2", Roles: []string{"leader"}, For: 6 * s}
	in := &Input{Now: rigStamp(0), Image: r.img.Readings()}
	if code := r.refusal(in, c); code != "bypass-none-waiting" {
		t.Error(code)
	}
	c.For = 5 * s
	c.Session = ""
	if code := r.refusal(in, c); code != "bypass-same-session" {
		t.Error(code)
	}
	c.Session = "s2"
	if code := r.refusal(in, c); code != "" {
		t.Error(code)
	}
	l, _ := r.e.Interlock("L", rigStamp(2*s))
	if b := l.Bypass; b == nil || *b != (BypassView{Channel: "a", Who: "li", Second: "wang", Note: "n", Left: 3 * s}) || l.OutOfService {
		t.Errorf("%+v", l.Bypass)
	}
}

// A bypass silences nothing, and a trip says what was bypassed.
func TestBypassBesideAlarms(t *testing.T) {
	set := permitSet(2, 3, func(l *Interlock) { l.DegradedPriority, l.DegradedAtMost = Medium, 5*s })
	set.Alarms = []Alarm{{Name: "hi", Cond: Condition{1, GE, 50}, Priority: High}}
	r := play(t, set, `
		0s a=1 b=1 c=1 => armed L
		1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed; raised L.degraded#1
		2s a=100 ?hi=unacked => raised hi#1
		6s => raised L.degraded-overdue#1
		7s b=100 => tripped L#1 first=b votes=b; demand fan by L`)
	at := slices.IndexFunc(r.out.Events, func(v Event) bool { return v.Kind == InterlockTripped })
	if v := r.out.Events[at]; v.Channel != "a" {
		t.Errorf("%+v", v)
	}
}

// A plan that allows less takes a bypass over with less, or ends it.
func TestBypassUnderAnotherPlan(t *testing.T) {
	r := play(t, permitSet(2, 3, nil), `
		0s a=1 b=1 c=1 => armed L
		1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed`)
	b := r.e.Snapshot(nil, rigStamp(s))
	for name, c := range map[string]struct {
		change func(*Interlock)
		want   string
	}{
		"shorter":     {func(l *Interlock) { l.Bypass.AtMost = 3 * s }, "1s ?L=armed,a-3s,degraded\n2s => reminded L a 2s\n4s => unbypassed L a; restored L"},
		"none":        {func(l *Interlock) { l.Bypass = Permit{} }, "1s ?L=armed => unbypassed L a; restored L"},
		"manual now":  {func(l *Interlock) { l.Channels[0].Manual = true }, "1s ?L=armed => unbypassed L a; restored L"},
		"renamed":     {func(l *Interlock) { l.Channels[0].Name = "x" }, "1s ?L=armed => unbypassed L a"},
		"longer":      {func(l *Interlock) { l.Bypass.AtMost = time.Hour }, "1s ?L=armed,a-10s,degraded"},
		"no AllBad":   {func(l *Interlock) { l.AllBadHolds = true }, "1s ?L=armed,a-10s,degraded"},
		"more people": {func(l *Interlock) { l.Bypass.Second = []string{"leader"} }, "1s ?L=armed,a-10s,degraded"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newRig(t, permitSet(2, 3, c.change))
			n.img = r.img
			if err := n.e.Restore(b, 0); err != nil {
				t.Fatal(err)
			}
			n.play(c.want)
		})
	}
}

// An interlock that panics has no bypass any more; one that only has a broken
// channel keeps it.
func TestBypassPanic(t *testing.T) {
	began := `
		0s a=1 b=1 c=1 => armed L
		1s bypass:L:a:10s => bypassed L a 10s by li; degraded L a!bypassed`
	r := play(t, permitSet(2, 3, nil), began)
	r.e.channels[1].op = 99
	r.play(`2s b=5 ?L=armed,a-9s,degraded => raised rules.broken#1`)
	r = play(t, permitSet(2, 3, nil), began)
	r.e.interlocks[0].n = 77
	r.play(`2s b=5 => raised rules.broken#1; raised rules.broken#2; unbypassed L a; tripped L#1; demand fan by L`)
	r = play(t, permitSet(2, 3, func(l *Interlock) { l.AllBadHolds = true }), began)
	r.e.interlocks[0].n = 77
	r.play(`2s b=5 ?fan=off bypass:L:a:10s!broken => raised rules.broken#1; raised rules.broken#2; unbypassed L a`)

	// What arms it panics: it is not known, and armed.
	set := armSet(nil)
	r = play(t, set, `0s a=1 p=0 => unarmed L`)
	r.e.guards[0].op = 99
	r.play(`
		1s p=0.5 ?L=armed => raised rules.broken#1; armed L
		2s a=100 => tripped L#1 first=a votes=a; demand fan by L`)
}

// Steps without a change allocate nothing beside a bypass, arming and run-ons.
func TestLocksAllocateNothing(t *testing.T) {
	set := armSet(func(l *Interlock) {
		l.ArmDue, l.ArmWithin, l.ResetWhen = Condition{6, GE, 1}, time.Hour, Condition{4, GE, 1}
		l.Bypass = Permit{AtMost: time.Hour}
		l.Permissives = []Permissive{{Name: "f", Cond: Condition{6, GE, 20}, Priority: Low, After: time.Hour}}
		l.M, l.Channels = 1, append(l.Channels, Channel{Name: "b", Cond: Condition{2, GE, 1000}})
		l.Discrepancy = Discrepancy{Priority: Low, Spread: 20, After: time.Hour}
		l.Demands[0].RunOn = time.Hour
		l.ManualReset = true
	})
	set.Outputs[0].Proved, set.Outputs[0].Proof, set.Outputs[0].Within, set.Outputs[0].Escalate = true, Condition{4, EQ, 1}, time.Hour, []string{"horn"}
	r := play(t, set, `
		0s a=100 b=1 p=1 d=30 f=0 => armed L; tripped L#1 first=a votes=a; demand fan by L
		1s a=1 f=1 => proved fan 1s
		2s reset:L => reset L#1
		3s f=0 bypass:L:a:1h => bypassed L a 1h0m0s by li; degraded L a!bypassed`)
	in := Input{Image: r.img.Readings(), Changed: []tag.ID{1, 4, 5, 6}}
	at := 4 * s
	got := testing.AllocsPerRun(1000, func() {
		at += 7 * time.Millisecond
		in.Now = rigStamp(at)
		for _, id := range in.Changed {
			v, _ := tag.Float64Value(float64(int(at/time.Millisecond)%50 + 2))
			in.Image[id] = tag.Reading{Tag: id, Quality: tag.GoodQuality, Value: v}
		}
		r.e.Step(&in, &r.out)
	})
	if got != 0 || len(r.out.Events) > 0 {
		t.Errorf("%v allocations, %d events", got, len(r.out.Events))
	}
}
