package bench

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-plant/modbus"
	"davy/cmd/davy-plant/relay"
)

// Each fault does to the answers what it says, to its unit only, and ends.
func TestFaults(t *testing.T) {
	r := newRig(t, "")
	read := func(unit byte) modbus.Reply { return r.ask(unit, modbus.ReadHoldings, 0, 2) }
	plain := func(rep modbus.Reply) bool {
		rep.Objects = nil
		words := rep.Words
		rep.Words = nil
		return len(words) == 2 && reflect.DeepEqual(rep, modbus.Reply{})
	}
	f := func(on, off string, broken func(modbus.Reply) bool) {
		t.Helper()
		r.do(on)
		if rep := read(2); !broken(rep) {
			t.Errorf("%s: %+v", on, rep)
		}
		if rep := read(1); !plain(rep) {
			t.Errorf("%s: the unit beside it: %+v", on, rep)
		}
		r.do(off)
		if rep := read(2); !plain(rep) {
			t.Errorf("%s: %+v", off, rep)
		}
		if len(r.faults) > 0 {
			t.Errorf("%s: %v stand", off, r.faults)
		}
	}
	silent := func(rep modbus.Reply) bool { return rep.Silent }
	late := func(rep modbus.Reply) bool { return rep.Delay == 800*time.Millisecond && len(rep.Words) == 2 }
	wrong := func(rep modbus.Reply) bool { return rep.Function == modbus.ReadInputs }
	short := func(rep modbus.Reply) bool { return rep.Cut == 2 }
	busy := func(rep modbus.Reply) bool { return rep.Exception == modbus.DeviceBusy }
	f("dead nh3-2", "alive nh3-2", silent)
	f("mute nh3-2", "alive nh3-2", silent)
	f("power nh3-2 off", "power nh3-2 on", silent)
	f("late nh3-2 800ms", "late nh3-2 off", late)
	f("wrong-function nh3-2", "wrong-function nh3-2 off", wrong)
	f("short nh3-2", "short nh3-2 off", short)
	f("exception nh3-2 holding 1 6", "exception nh3-2 off", busy)
	for name, broken := range map[string]func(modbus.Reply) bool{
		"long": func(r modbus.Reply) bool { return r.Extra == 2 }, "garbled": func(r modbus.Reply) bool { return r.Garbled },
		"duplicate": func(r modbus.Reply) bool { return r.Copies == 1 }, "split": func(r modbus.Reply) bool { return r.Split > 0 },
		"wrong-station": func(r modbus.Reply) bool { return r.Station == 3 }, "reset": func(r modbus.Reply) bool { return r.Reset },
		"half-open": func(r modbus.Reply) bool { return r.HalfOpen },
	} {
		f(name+" nh3-2", name+" nh3-2 off", broken)
		f(name+" nh3-2", "clear", broken)
	}
	for on, broken := range map[string]func(modbus.Reply) bool{
		"dead nh3-2": silent, "late nh3-2 800ms": late, "wrong-function nh3-2": wrong, "short nh3-2": short, "exception nh3-2 holding 0 6": busy,
	} {
		f(on, "clear", broken)
	}
	// An exception is for its register, not for its neighbours.
	r.do("exception comp1 holding 4 2")
	if rep := r.ask(10, modbus.ReadHoldings, 0, 4); rep.Exception != 0 {
		t.Errorf("neighbours: %+v", rep)
	}
	if rep := r.ask(10, modbus.ReadHoldings, 3, 2); rep.Exception != modbus.IllegalAddress {
		t.Errorf("register: %+v", rep)
	}
	if rep := r.ask(10, modbus.ReadDiscretes, 0, 2); rep.Exception != 0 {
		t.Errorf("another table: %+v", rep)
	}
}

// A silent output device: one kind has done what it was told, the other not.
func TestSilentOutput(t *testing.T) {
	r := newRig(t, "")
	r.do("mute io1")
	if rep := r.ask(20, modbus.WriteCoil, 0, 1, 1); !rep.Silent || !r.p.FanStart {
		t.Errorf("mute: %+v, fan %v", rep, r.p.FanStart)
	}
	r.do("alive io1")
	r.do("dead io1")
	if rep := r.ask(20, modbus.WriteCoil, 1, 1, 1); !rep.Silent || r.p.Siren {
		t.Errorf("dead: %+v, siren %v", rep, r.p.Siren)
	}
	var done []bool
	for _, e := range r.log() {
		if e.Event == logbook.Write {
			done = append(done, *e.Done)
		}
	}
	if !slices.Equal(done, []bool{true, false}) {
		t.Errorf("log: %v", done)
	}
}

// A frozen unit stays where it is, whatever the room does; its neighbours go
// on, and when it thaws it shows what is.
func TestFrozen(t *testing.T) {
	r := newRig(t, "")
	before := r.float(2, 0)
	r.do("freeze nh3-2")
	r.do("leak start 20")
	r.pass(15 * time.Second)
	if v := r.float(2, 0); v != before {
		t.Errorf("frozen at %v, shows %v", before, v)
	}
	if v := r.float(1, 0); v < 100 {
		t.Errorf("the one beside it shows %v", v)
	}
	if s := logbook.Above(r.log(), "nh3-2.gas", 28, 26); len(s) != 0 {
		t.Errorf("the log has %v of a register that did not move", s)
	}
	r.do("thaw nh3-2")
	if v := r.float(2, 0); v < 100 {
		t.Errorf("thawed, it shows %v", v)
	}
}

// Lost connections: by themselves, for a time, until told.
func TestConnections(t *testing.T) {
	r := newRig(t, "")
	r.do("connection reset")
	r.do("connection refuse 3s")
	r.pass(2990 * time.Millisecond)
	if want := []string{"reset", "refuse"}; !slices.Equal(r.wire.asked, want) {
		t.Fatalf("%v", r.wire.asked)
	}
	r.pass(20 * time.Millisecond)
	r.do("connection refuse")
	r.pass(10 * time.Second)
	r.do("connection accept")
	if want := []string{"reset", "refuse", "accept", "refuse", "accept"}; !slices.Equal(r.wire.asked, want) {
		t.Fatalf("%v", r.wire.asked)
	}
	if s := logbook.Faulty(r.log(), "connection refuse"); len(s) != 2 || s[0].To-s[0].From != int64(3*time.Second) {
		t.Errorf("%v", s)
	}
}

// adapter notes what a bench asks of a serial line.
type adapter struct{ asked []string }

func (a *adapter) Unplug()     { a.asked = append(a.asked, "unplug") }
func (a *adapter) Plug() error { a.asked = append(a.asked, "plug"); return nil }

// Each trouble of a line does to bursts what it says, to every so manieth, and ends.
func TestLine(t *testing.T) {
	r := newRig(t, "")
	a := &adapter{}
	r.Lines(a)
	effect := func(from relay.Side, count int) relay.Effect {
		return r.LineEffect(relay.Burst{From: from, Count: count, Data: []byte("abc")})
	}
	sound := relay.Effect{Pieces: []relay.Piece{{Data: []byte("abc")}}}
	f := func(command string, hit, missed relay.Effect) {
		t.Helper()
		r.do(command)
		if got := effect(relay.Master, 6); !reflect.DeepEqual(got, hit) {
			t.Errorf("%s: %+v", command, got)
		}
		if got := effect(relay.Master, 7); !reflect.DeepEqual(got, missed) {
			t.Errorf("%s, the next: %+v", command, got)
		}
		r.do("line sound")
		if got := effect(relay.Master, 6); !reflect.DeepEqual(got, sound) || len(r.faults) > 0 {
			t.Errorf("sound again: %+v, %v", got, r.faults)
		}
	}
	late := relay.Effect{Pieces: []relay.Piece{{Pause: time.Second, Data: []byte("abc")}}}
	echo := relay.Effect{Pieces: sound.Pieces, Echo: true}
	f("line drop 3", relay.Effect{}, sound)
	f("line garble 2", relay.Effect{Pieces: []relay.Piece{{Data: []byte{'a', 'b' ^ 0x11, 'c'}}}}, sound)
	f("line duplicate 6", relay.Effect{Pieces: []relay.Piece{{Data: []byte("abc")}, {Data: []byte("abc")}}}, sound)
	f("line noise 6", relay.Effect{Pieces: []relay.Piece{{Data: []byte(noise)}, {Data: []byte("abc")}}}, sound)
	f("line delay 1s", late, late)
	f("line echo", echo, echo)
	r.do("line unplug")
	r.do("line plug")
	r.do("line unplug")
	r.do("clear")
	if want := []string{"unplug", "plug", "unplug", "plug"}; !slices.Equal(a.asked, want) {
		t.Errorf("%v", a.asked)
	}
}

// The functions that change and read in one request, and the one that says who it is.
func TestMoreFunctions(t *testing.T) {
	r := newRig(t, "")
	r.ask(20, modbus.WriteHoldings, regDog, 4, 1, 0, 3, 0x0f)
	if rep := r.ask(20, modbus.MaskHolding, regPowerUp, 1, 0x09, 0xf0); rep.Exception != 0 || r.io.word(regPowerUp) != 0xf9 {
		t.Errorf("%+v, %#x", rep, r.io.word(regPowerUp))
	}
	q := modbus.Request{Unit: 20, Function: modbus.ReadWrite, Address: regDog, Count: 3, Into: regLost, Words: []uint16{2}}
	if rep := r.Serve(q); !slices.Equal(rep.Words, []uint16{1, 0, 2}) {
		t.Errorf("%+v", rep)
	}
	q.Into = regPowerUp + 1
	if rep := r.Serve(q); rep.Exception != modbus.IllegalAddress {
		t.Errorf("%+v", rep)
	}
	if rep := r.Serve(modbus.Request{Unit: 20, Function: modbus.Identify, Code: 1}); len(rep.Objects) != 3 {
		t.Errorf("%+v", rep)
	}
	if rep := r.ask(1, modbus.MaskHolding, 0, 1, 0, 0); rep.Exception != modbus.IllegalAddress {
		t.Errorf("a detector: %+v", rep)
	}
}
