package rules

import (
	"testing"
	"time"
)

// lifeSet has the alarm hi on tag a, as alarmSet, and the tags b and c.
func lifeSet(a Alarm, more ...Alarm) Set {
	set := alarmSet(a)
	set.Tags = tagsOf("a", "b", "c")
	for _, m := range more {
		if m.Priority == 0 {
			m.Priority = Medium
		}
		set.Alarms = append(set.Alarms, m)
	}
	return set
}

// Every way of the table of ISA-18.2 that leads to and from the three states
// that lie over an alarm, and the options.
func TestAlarmLife(t *testing.T) {
	over := Condition{Op: GE, Limit: 100}
	off := Condition{2, GE, 1}
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"A to G, and at its end A": {lifeSet(Alarm{Cond: over}), `
			0s a=5
			1s shelve:hi:1h ??hi=shelved,left:1h0m0s,li:n => shelve hi#0 1h0m0s
			31m ??hi=shelved,left:29m1s,li:n
			1h0m5s ??hi=normal => unshelve hi#0@1h0m1s`},
		"A to G, raised under it, at its end B": {lifeSet(Alarm{Cond: over}), `
			0s a=5 shelve:hi:10s => shelve hi#0 10s
			1s a=100 ??hi=shelved,standing,left:9s,li:n ack:hi!hidden reset:hi!hidden => raised hi#1 shelved
			12s ??hi=unacked,sounds => unshelve hi#1@10s; raised hi#2@10s`},
		"A to G, raised and returned under it, at its end A": {lifeSet(Alarm{Cond: over}), `
			0s a=5 shelve:hi:10s => shelve hi#0 10s
			1s a=100 => raised hi#1 shelved
			2s a=5 => returned hi#1 shelved
			10s ??hi=normal => unshelve hi#1`},
		"B to G, and by a person B": {lifeSet(Alarm{Cond: over}), `
			0s a=100 => raised hi#1
			1s shelve:hi:10s ??hi=shelved,standing,left:10s,li:n => shelve hi#1 10s
			2s unshelve:hi ??hi=unacked,sounds unshelve:hi!not-shelved => unshelve hi#1; raised hi#2`},
		"B to G, and A": {lifeSet(Alarm{Cond: over}), `
			0s a=100 shelve:hi:10s => raised hi#1; shelve hi#1 10s
			1s a=5 => returned hi#1 shelved
			10s ??hi=normal => unshelve hi#1`},
		"C to G, and B: it must be acknowledged anew": {lifeSet(Alarm{Cond: over}), `
			0s a=100 ack:hi => raised hi#1; acked hi#1
			1s shelve:hi:10s => shelve hi#1 10s
			11s ??hi=unacked,sounds => unshelve hi#1; raised hi#2`},
		"D to G, and A": {lifeSet(Alarm{Cond: over}), `
			0s a=100 => raised hi#1
			1s a=5 shelve:hi:10s => returned hi#1; shelve hi#1 10s
			11s ??hi=normal => unshelve hi#1`},
		"E to G, and E": {lifeSet(Alarm{Cond: over, Latch: true}), `
			0s a=100 => raised hi#1
			1s a=5 shelve:hi:10s ??hi=shelved,left:10s,li:n => returned hi#1; shelve hi#1 10s
			11s ??hi=latched,sounds ack:hi => unshelve hi#1; acked hi#1
			12s reset:hi ??hi=normal => unlatched hi#1`},
		"F to G, and E": {lifeSet(Alarm{Cond: over, Latch: true}), `
			0s a=100 ack:hi => raised hi#1; acked hi#1
			1s a=5 shelve:hi:10s => returned hi#1; shelve hi#1 10s
			11s ??hi=latched,sounds => unshelve hi#1`},
		"latched: stood under G, and E": {lifeSet(Alarm{Cond: over, Latch: true}), `
			0s a=5 shelve:hi:10s => shelve hi#0 10s
			1s a=100 => raised hi#1 shelved
			2s a=5 => returned hi#1 shelved
			10s ??hi=latched,sounds => unshelve hi#1`},
		"refused": {lifeSet(Alarm{Cond: over, ShelveAtMost: time.Hour}, Alarm{Name: "no", Cond: Condition{1, GE, 200}, NoShelve: true}), `
			0s a=100 => raised hi#1
			1s shelve:hi:10s:0!wrong-occurrence shelve:hi:10s:2!wrong-occurrence shelve-:hi:10s!needs-reason
			2s shelve:hi:0s!needs-time shelve:hi:-1s!needs-time shelve:hi:1h1ns!shelve-too-long shelve:no:1s!no-shelve shelve:ho:1s!unknown-rule
			3s shelve:hi:1h => shelve hi#1 1h0m0s
			4s shelve:hi:1h!already-shelved unshelve:no!not-shelved`},
		"longest, where the rule does not say": {lifeSet(Alarm{Cond: over}), `
			0s shelve:hi:8h1ns!shelve-too-long
			1s shelve:hi:8h => shelve hi#0 8h0m0s`},
		"on-delay and off-delay run under it": {lifeSet(Alarm{Cond: over, OnDelay: 5 * s, OffDelay: 5 * s}), `
			0s a=5 shelve:hi:8s => shelve hi#0 8s
			4s a=100
			8s => unshelve hi#0
			9s ??hi=unacked,sounds => raised hi#1
			10s shelve:hi:7s => shelve hi#1 7s
			14s a=5
			17s ??hi=unacked,sounds => unshelve hi#1; raised hi#2
			19s => returned hi#2`},
		"bad under it clears nothing": {lifeSet(Alarm{Cond: over}), `
			0s a=100 shelve:hi:10s => raised hi#1; shelve hi#1 10s
			1s a=bad:5
			10s ??hi=unacked,sounds => unshelve hi#1; raised hi#2`},

		"B to H, and B": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=0 => raised hi#1
			1s b=1 ??hi=suppressed,standing ack:hi!hidden shelve:hi:1s!hidden => suppress hi#1
			2s b=0 ??hi=unacked,sounds => unsuppress hi#1; raised hi#2`},
		"C to H, and A": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=0 ack:hi => raised hi#1; acked hi#1
			1s b=1 => suppress hi#1
			2s a=5 => returned hi#1 suppressed
			3s b=0 ??hi=normal => unsuppress hi#1`},
		"A to H, raised under it, and B": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=5 b=1 ??hi=suppressed => suppress hi#0
			1s a=100 => raised hi#1 suppressed
			2s b=0 => unsuppress hi#1; raised hi#2`},
		"H: a bad reading suppresses nothing": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=bad:1 => raised hi#1
			1s b=1 => suppress hi#1
			2s b=bad => unsuppress hi#1; raised hi#2`},
		"H: at one instant it comes first, whatever was read first": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=5 b=0
			1s a=100 b=1 ??hi=suppressed,standing => suppress hi#0; raised hi#1 suppressed
			2s b=0 a=5 ??hi=normal => returned hi#1 suppressed; unsuppress hi#1
			3s b=1 => suppress hi#1
			4s a=100 b=0 => unsuppress hi#1; raised hi#2`},

		"B to I, and B": {lifeSet(Alarm{Cond: over}), `
			0s a=100 => raised hi#1
			1s remove:hi ??hi=out,standing,li:n ack:hi!hidden shelve:hi:1s!hidden remove:hi!already-removed => remove hi#1
			100h a=5 => returned hi#1 out
			101h a=100 => raised hi#2 out
			200h restore:hi ??hi=unacked,sounds restore:hi!not-removed => restore hi#2; raised hi#3`},
		"A to I, and A; of what cannot be shelved": {lifeSet(Alarm{Cond: over, NoShelve: true}), `
			0s a=5 remove:hi ??hi=out,li:n => remove hi#0
			9s restore:hi ??hi=normal => restore hi#0`},
		"I before H before G, and judged anew when the last is gone": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=0 shelve:hi:1h ??hi=shelved,standing,left:1h0m0s,li:n => raised hi#1; shelve hi#1 1h0m0s
			1s b=1 ??hi=suppressed,standing => suppress hi#1
			2s remove:hi ??hi=out,standing,li:n => remove hi#1
			3s a=5 => returned hi#1 out
			4s a=100 => raised hi#2 out
			5s restore:hi ??hi=suppressed,standing => restore hi#2
			6s b=0 ??hi=shelved,standing,left:59m54s,li:n => unsuppress hi#2
			7s unshelve:hi ??hi=unacked,sounds => unshelve hi#2; raised hi#3`},
		"a shelving ends under the others too": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=0 shelve:hi:5s => raised hi#1; shelve hi#1 5s
			1s b=1 => suppress hi#1
			5s ??hi=suppressed,standing => unshelve hi#1
			6s b=0 => unsuppress hi#1; raised hi#2`},

		"auto-ack: B to A": {lifeSet(Alarm{Cond: over, AutoAck: true}), `
			0s a=100 => raised hi#1
			1s a=5 ??hi=normal => returned hi#1
			2s a=100 ack:hi => raised hi#2; acked hi#2
			3s a=5 ??hi=normal => returned hi#2`},
		"re-alarm: C to B, again and again": {lifeSet(Alarm{Cond: over, Realarm: 10 * s}), `
			0s a=100 => raised hi#1
			20s ack:hi => acked hi#1
			29s a=bad ??hi=acked
			31s ??hi=unacked,sounds ack:hi => again hi#1@30s; acked hi#1
			41s => again hi#1
			60s a=5 ??hi=returned,sounds => returned hi#1`},
		"re-alarm: not after a return, nor under something": {lifeSet(Alarm{Cond: over, Realarm: 10 * s}), `
			0s a=100 ack:hi => raised hi#1; acked hi#1
			5s a=5 => returned hi#1
			6s a=100 ack:hi => raised hi#2; acked hi#2
			15s shelve:hi:1m => shelve hi#2 1m0s
			20s
			75s => unshelve hi#2; raised hi#3
			200s ??hi=unacked,sounds`},
		"silence": {lifeSet(Alarm{Cond: over, Realarm: 10 * s}, Alarm{Name: "lo", Cond: Condition{2, LE, 1}}), `
			0s a=5 b=5 silence:!nothing-sounds
			1s a=100 ??hi=unacked,sounds silence ??hi=unacked => raised hi#1; silenced
			2s b=1 ??hi=unacked ??lo=unacked,sounds => raised lo#1
			3s silence ack:hi ??lo=unacked silence:!nothing-sounds => silenced; acked hi#1
			4s b=5 ??lo=returned => returned lo#1
			5s b=1 ??lo=unacked,sounds => raised lo#2
			13s ??hi=unacked,sounds => again hi#1`},
		"beyond: the higher limit's sound is enough": {lifeSet(Alarm{Cond: over, Beyond: "hh"}, Alarm{Name: "hh", Cond: Condition{1, GE, 120}, Beyond: "hhh"}, Alarm{Name: "hhh", Cond: Condition{1, GE, 130}}), `
			0s a=110 ??hi=unacked,sounds => raised hi#1
			1s a=120 ??hi=unacked ??hh=unacked,sounds => raised hh#1
			2s ack:hh ??hi=unacked => acked hh#1
			3s a=110 ??hi=unacked,sounds => returned hh#1
			4s a=130 ??hi=unacked ??hh=unacked ??hhh=unacked,sounds => raised hh#2; raised hhh#1
			5s shelve:hh:10s ??hi=unacked => shelve hh#2 10s
			6s shelve:hhh:20s ??hi=unacked,sounds => shelve hhh#1 20s`},
		"beyond: silence holds when the higher one returns": {lifeSet(Alarm{Cond: over, Beyond: "hh"}, Alarm{Name: "hh", Cond: Condition{1, GE, 120}}), `
			0s a=120 silence => raised hi#1; raised hh#1; silenced
			1s a=110 ??hi=unacked ??hh=returned => returned hh#1`},

		"group: the first is marked": {lifeSet(Alarm{Cond: over, Group: "g"}, Alarm{Name: "two", Cond: Condition{2, GE, 1}, Group: "g"}, Alarm{Name: "not", Cond: Condition{3, GE, 1}}), `
			0s c=1 => raised not#1
			1s a=100 ??hi=unacked,sounds,first => raised hi#1 first
			2s b=1 ??two=unacked,sounds => raised two#1
			3s a=5 b=1 ??hi=returned,sounds,first => returned hi#1
			4s a=100 ??hi=unacked,sounds => raised hi#2
			5s a=5 b=0 ??two=returned,sounds => returned hi#2; returned two#1
			6s b=1 ??two=unacked,sounds,first ??hi=returned,sounds => raised two#2 first`},
		"group: the mark ends with the alarm, and with a later first": {lifeSet(Alarm{Cond: over, Group: "g"}, Alarm{Name: "two", Cond: Condition{2, GE, 1}, Group: "g"}), `
			0s a=100 => raised hi#1 first
			1s a=5 ??hi=returned,sounds,first => returned hi#1
			2s b=1 ??hi=returned,sounds ??two=unacked,sounds,first => raised two#1 first
			3s b=0 ack:two ??two=normal => returned two#1; acked two#1`},
		"group: at one instant all are the first": {lifeSet(Alarm{Cond: over, Group: "g"}, Alarm{Name: "two", Cond: Condition{2, GE, 1}, Group: "g"}), `
			0s b=1 a=100 ??hi=unacked,sounds,first ??two=unacked,sounds,first => raised hi#1 first; raised two#1 first
			1s b=0 a=5 => returned two#1; returned hi#1
			2s b=1 => raised two#2 first
			3s b=0 a=100 ??hi=unacked,sounds => returned two#2; raised hi#2`},
		"group: itself is no other": {lifeSet(Alarm{Cond: over, OffDelay: 5 * s, Group: "g"}), `
			0s a=100 => raised hi#1 first
			1s a=5
			6s a=100 ??hi=unacked,sounds,first => returned hi#1; raised hi#2 first`},
		"group: one that is hidden is none": {lifeSet(Alarm{Cond: over, Group: "g"}, Alarm{Name: "two", Cond: Condition{2, GE, 1}, Group: "g"}), `
			0s a=5 shelve:hi:10s => shelve hi#0 10s
			1s a=100 => raised hi#1 shelved
			2s b=1 ??two=unacked,sounds,first => raised two#1 first
			10s ??hi=unacked,sounds => unshelve hi#1; raised hi#2
			11s shelve:two:1s ??two=shelved,standing,left:1s,li:n => shelve two#1 1s
			12s ??two=unacked,sounds => unshelve two#1; raised two#2`},

		"under: one line for many": {lifeSet(Alarm{Cond: over, Under: "up"}, Alarm{Name: "up", Cond: Condition{2, GE, 1}}), `
			0s a=100 b=0 => raised hi#1
			1s b=1 ??hi=suppressed,standing,under:up => raised up#1; suppress hi#1 under up
			2s a=5 => returned hi#1 suppressed
			3s a=100 ack:up => raised hi#2 suppressed; acked up#1
			4s b=bad ??hi=suppressed,standing,under:up
			5s b=0 ??hi=unacked,sounds => returned up#1; unsuppress hi#2; raised hi#3`},
		"under: at one instant the upper one comes first, down a line": {lifeSet(Alarm{Cond: over, Under: "up"}, Alarm{Name: "up", Cond: Condition{2, GE, 1}, Under: "top"}, Alarm{Name: "top", Cond: Condition{3, GE, 1}}), `
			0s a=100 b=1 c=1 => raised top#1; suppress up#0 under top; raised up#1 suppressed; suppress hi#0 under up; raised hi#1 suppressed
			1s c=0 ??hi=suppressed,standing,under:up => returned top#1; unsuppress up#1; raised up#2
			2s b=0 a=5 => returned up#2; returned hi#1 suppressed; unsuppress hi#1`},
		"suppressed by two, and said once": {lifeSet(Alarm{Cond: over, Suppress: off, Under: "up"}, Alarm{Name: "up", Cond: Condition{3, GE, 1}}), `
			0s a=100 b=1 c=0 => suppress hi#0; raised hi#1 suppressed
			1s c=1 ??hi=suppressed,standing,under:up => raised up#1
			2s b=0 ??hi=suppressed,standing,under:up
			3s c=0 => returned up#1; unsuppress hi#1; raised hi#2`},
		"under: with delays that end together": {lifeSet(Alarm{Cond: over, OnDelay: 5 * s, Under: "up"}, Alarm{Name: "up", Cond: Condition{2, GE, 1}, OnDelay: 5 * s}), `
			0s a=100 b=1
			9s => raised up#1@5s; suppress hi#0 under up@5s; raised hi#1 suppressed@5s`},

		"mode: a limit of its own": {lifeSet(Alarm{Cond: over, Deadband: 10, Modes: []Mode{{Name: "hot", When: Condition{2, EQ, 1}, Limit: 150}, {Name: "warm", When: Condition{2, GE, 1}, Limit: 130}}}), `
			0s a=100 b=1
			1s a=149.9
			2s a=150 ??hi=unacked,sounds,hot:150 => raised hi#1
			3s b=0
			4s a=140 ??hi=unacked,sounds,hot:150
			5s a=100
			6s a=95 ack:hi => returned hi#1; acked hi#1
			7s a=100 ??hi=unacked,sounds => raised hi#2
			8s b=2 ??hi=unacked,sounds
			9s a=90
			10s a=89.9 ??hi=returned,sounds => returned hi#2
			11s a=129
			12s a=130 ??hi=unacked,sounds,warm:130 => raised hi#3`},
		"mode: one that is bad does not hold": {lifeSet(Alarm{Cond: over, Modes: []Mode{{Name: "hot", When: Condition{2, EQ, 1}, Limit: 150}}}), `
			0s a=120 b=1
			1s b=bad:1 => raised hi#1`},
		"mode: off": {lifeSet(Alarm{Cond: over, Modes: []Mode{{Name: "stopped", When: Condition{2, EQ, 1}, Off: true}, {Name: "hot", When: Condition{2, EQ, 2}, Limit: 150}}}), `
			0s a=120 b=0 => raised hi#1
			1s b=1 ??hi=suppressed,standing => suppress hi#1
			2s b=2 ??hi=normal => returned hi#1 suppressed; unsuppress hi#1
			3s a=150 b=1 => suppress hi#1; raised hi#2 suppressed
			4s b=2 ??hi=unacked,sounds,hot:150 => unsuppress hi#2; raised hi#3`},
		"mode: off, and then a limit by which it does not stand": {lifeSet(Alarm{Cond: over, OffDelay: 5 * s, Modes: []Mode{{Name: "stopped", When: Condition{2, EQ, 1}, Off: true}, {Name: "hot", When: Condition{2, EQ, 2}, Limit: 150}}}), `
			0s a=120 b=1 => suppress hi#0; raised hi#1 suppressed
			1s b=2 ??hi=normal => returned hi#1 suppressed; unsuppress hi#1`},
		"mode: a delay goes on under another limit": {lifeSet(Alarm{Cond: over, OnDelay: 5 * s, Modes: []Mode{{Name: "hot", When: Condition{2, EQ, 1}, Limit: 150}}}), `
			0s a=160 b=0
			3s b=1
			5s => raised hi#1`},
		"mode: a delay ends with a limit that is not passed": {lifeSet(Alarm{Cond: over, OnDelay: 5 * s, Modes: []Mode{{Name: "hot", When: Condition{2, EQ, 1}, Limit: 150}}}), `
			0s a=120 b=0
			3s b=1
			9s b=0
			14s => raised hi#1`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

func TestAlarmLifeSurvives(t *testing.T) {
	over := Condition{Op: GE, Limit: 100}
	off := Condition{2, GE, 1}
	for name, c := range map[string]struct {
		set    Set
		script string
	}{
		"a shelving goes on": {lifeSet(Alarm{Cond: over}), `
			0s a=100 shelve:hi:1m => raised hi#1; shelve hi#1 1m0s
			30s handover ??hi=shelved,standing,left:30s,li:n
			40s restart:5s ??hi=shelved,standing,left:20s,li:n
			60s => unshelve hi#1; raised hi#2`},
		"a shelving that ended meanwhile": {lifeSet(Alarm{Cond: over}), `
			0s a=100 shelve:hi:1m => raised hi#1; shelve hi#1 1m0s
			10m restart:9m30s ??hi=unacked,sounds => unshelve hi#1; raised hi#2`},
		"a shelving, an unknown time down": {lifeSet(Alarm{Cond: over}), `
			0s a=5 shelve:hi:1m => shelve hi#0 1m0s
			30s restart:-1s ??hi=shelved,left:30s,li:n
			60s ??hi=normal => unshelve hi#0`},
		"restarted twice before it steps": {lifeSet(Alarm{Cond: over}), `
			0s a=5 shelve:hi:1m => shelve hi#0 1m0s
			10s restart:1s restart:0s ??hi=shelved,left:50s,li:n`},
		"out of service": {lifeSet(Alarm{Cond: over}), `
			0s a=100 remove:hi => raised hi#1; remove hi#1
			30s handover ??hi=out,standing,li:n
			1000h restart:900h ??hi=out,standing,li:n
			1001h a=100 restore:hi => restore hi#1; raised hi#2`},
		"suppressed, until it is read": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=1 => suppress hi#0; raised hi#1 suppressed
			10s handover ??hi=suppressed,standing
			20s restart:5s ??hi=suppressed,standing
			25s a=5 => returned hi#1 suppressed
			26s a=100 => raised hi#2 suppressed
			29s b=1
			60s ??hi=suppressed,standing
			61s b=0 => unsuppress hi#2; raised hi#3`},
		"suppressed, and not so any more": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=1 => suppress hi#0; raised hi#1 suppressed
			20s restart:5s
			29s b=0 => unsuppress hi#1; raised hi#2`},
		"suppressed, until it is read as bad": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=1 => suppress hi#0; raised hi#1 suppressed
			20s restart:5s
			29s b=bad => unsuppress hi#1; raised hi#2`},
		"suppressed, and never read": {lifeSet(Alarm{Cond: over, Suppress: off}), `
			0s a=100 b=1 => suppress hi#0; raised hi#1 suppressed
			20s restart:5s
			55s => unsuppress hi#1@50s; raised hi#2@50s`},
		"under": {lifeSet(Alarm{Cond: over, Under: "up"}, Alarm{Name: "up", Cond: Condition{2, GE, 1}}), `
			0s a=100 b=1 => raised up#1; suppress hi#0 under up; raised hi#1 suppressed
			10s restart:5s ??hi=suppressed,standing,under:up
			100s b=0 => returned up#1; unsuppress hi#1; raised hi#2`},
		"a mode, until it is read": {lifeSet(Alarm{Cond: over, Modes: []Mode{{Name: "hot", When: Condition{2, EQ, 1}, Limit: 150}}}), `
			0s a=120 b=1
			10s handover
			20s restart:5s a=120
			21s b=1 ??hi=normal
			22s a=150 ??hi=unacked,sounds,hot:150 => raised hi#1
			23s b=0
			24s handover ??hi=unacked,sounds,hot:150
			25s restart:1s a=150 ??hi=unacked,sounds,hot:150
			26s b=0 a=120
			27s a=99 => returned hi#1`},
		"the limit that raised it": {lifeSet(Alarm{Cond: over, Deadband: 10, Modes: []Mode{{Name: "hot", When: Condition{2, EQ, 1}, Limit: 150}}}), `
			0s a=100 b=0 => raised hi#1
			1s b=1
			2s restart:1s a=90 b=1 ??hi=unacked,sounds
			3s a=89 => returned hi#1`},
		"the re-alarm time": {lifeSet(Alarm{Cond: over, Realarm: time.Minute}), `
			0s a=100 ack:hi => raised hi#1; acked hi#1
			30s handover
			50s restart:10s
			61s => again hi#1@1m0s`},
		"a re-alarm time that ended meanwhile": {lifeSet(Alarm{Cond: over, Realarm: time.Minute}), `
			0s a=100 ack:hi => raised hi#1; acked hi#1
			90s restart:60s ??hi=unacked,sounds => again hi#1`},
		"silence": {lifeSet(Alarm{Cond: over}), `
			0s a=100 silence => raised hi#1; silenced
			1s handover ??hi=unacked
			9s restart:5s ??hi=unacked
			10s a=5 => returned hi#1
			11s a=100 ??hi=unacked,sounds => raised hi#2`},
		"the first of a group": {lifeSet(Alarm{Cond: over, Group: "g"}, Alarm{Name: "two", Cond: Condition{2, GE, 1}, Group: "g"}), `
			0s a=100 => raised hi#1 first
			1s handover ??hi=unacked,sounds,first
			9s restart:5s ??hi=unacked,sounds,first
			10s b=1 ??two=unacked,sounds => raised two#1`},
		"auto-ack and latches": {lifeSet(Alarm{Cond: over, Latch: true}), `
			0s a=100 shelve:hi:1m => raised hi#1; shelve hi#1 1m0s
			1s a=5 => returned hi#1 shelved
			9s restart:5s ??hi=shelved,left:51s,li:n
			60s ??hi=latched,sounds => unshelve hi#1`},
	} {
		t.Run(name, func(t *testing.T) { play(t, c.set, c.script) })
	}
}

// A new plan takes over what lay over its alarms as far as it permits that.
func TestAlarmLifeInANewPlan(t *testing.T) {
	over := Condition{Op: GE, Limit: 100}
	old := lifeSet(Alarm{Cond: over, Suppress: Condition{2, GE, 1}, Modes: []Mode{{Name: "hot", When: Condition{3, GE, 1}, Limit: 110}}})
	for name, c := range map[string]struct{ set, before, after string }{
		"no shelving":        {"no", "0s a=200 shelve:hi:1m => raised hi#1; shelve hi#1 1m0s", "1s a=200 => unshelve hi#1; raised hi#2"},
		"a shorter shelving": {"short", "0s a=200 shelve:hi:1m => raised hi#1; shelve hi#1 1m0s", "1s a=200 ??hi=shelved,standing,left:10s,li:n\n11s => unshelve hi#1; raised hi#2"},
		"no suppression":     {"no", "0s a=200 b=1 => suppress hi#0; raised hi#1 suppressed", "1s a=200 => unsuppress hi#1; raised hi#2"},
		"no mode":            {"no", "0s a=200 c=1 => raised hi#1", "1s a=99 => returned hi#1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := play(t, old, c.before)
			b := r.e.Snapshot(nil, rigStamp(0))
			set := lifeSet(Alarm{Cond: over, NoShelve: c.set == "no", ShelveAtMost: 10 * s})
			next := newRig(t, set)
			if err := next.e.Restore(b, 0); err != nil {
				t.Fatal(err)
			}
			next.play(c.after)
		})
	}
}
