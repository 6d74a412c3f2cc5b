package bench

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"davy/cmd/davy-plant/logbook"
	"davy/cmd/davy-plant/modbus"
	"davy/cmd/davy-plant/process"
	"davy/cmd/davy-plant/script"
	"davy/drivers/tag"
)

// wire notes what the bench asks of its server.
type wire struct{ asked []string }

func (w *wire) ResetAll()                    { w.asked = append(w.asked, "reset") }
func (w *wire) Refuse()                      { w.asked = append(w.asked, "refuse") }
func (w *wire) Accept(context.Context) error { w.asked = append(w.asked, "accept"); return nil }
func (w *wire) Deaf(on bool) {
	w.asked = append(w.asked, map[bool]string{true: "deaf", false: "speak"}[on])
}

// rig is a bench whose time passes only as the test says.
type rig struct {
	*Bench
	t    *testing.T
	at   int64
	path string
	wire wire
}

func newRig(t *testing.T, lines string) *rig {
	t.Helper()
	r := &rig{t: t, at: int64(time.Hour), path: filepath.Join(t.TempDir(), "plant.jsonl")}
	book, err := logbook.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, problems := script.Parse(strings.NewReader(lines), Names())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	now := func() tag.Stamp { return tag.Stamp{Wall: 1e18 + r.at, Mono: r.at} }
	r.Bench = New(Options{Seed: 1, Speed: 1, Script: parsed, Book: book, Now: now})
	r.Wire(&r.wire)
	t.Cleanup(func() { _ = book.Close() })
	r.tick()
	return r
}

func (r *rig) tick() {
	r.t.Helper()
	if err := r.Tick(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// pass lets time pass, a period at a time.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	for range d / process.Period {
		r.at += int64(process.Period)
		r.tick()
	}
}

func (r *rig) do(command string) {
	r.t.Helper()
	c, p := script.ParseCommand(command, Names())
	if p != nil {
		r.t.Fatal(p)
	}
	if _, err := r.Do(r.t.Context(), c); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) log() []logbook.Entry {
	r.t.Helper()
	all, err := logbook.Read(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// onWire is how long before the bench is asked the request was read.
const onWire = 1000

// ask reads or, with values, writes.
func (r *rig) ask(unit, function byte, addr, count int, values ...uint16) modbus.Reply {
	q := modbus.Request{Conn: 5, At: tag.Stamp{Mono: r.at - onWire}, Unit: unit, Function: function, Address: addr, Count: count}
	switch function {
	case modbus.WriteCoil, modbus.WriteCoils:
		for _, v := range values {
			q.Bits = append(q.Bits, v != 0)
		}
	default:
		q.Words = values
	}
	return r.Serve(q)
}

// float reads a float32 from holding registers, or input registers of unit 11.
func (r *rig) float(unit byte, addr int) float64 {
	r.t.Helper()
	f := byte(modbus.ReadHoldings)
	if unit == 11 {
		f = modbus.ReadInputs
	}
	rep := r.ask(unit, f, addr, 2)
	if len(rep.Words) != 2 {
		r.t.Fatalf("unit %d holding %d: %+v", unit, addr, rep)
	}
	hi, lo := rep.Words[0], rep.Words[1]
	if unit == 10 {
		hi, lo = lo, hi
	}
	return decimal(math.Float32frombits(uint32(hi)<<16 | uint32(lo)))
}

// What the registers hold is what the process says, in the order of bytes that the map promises.
func TestRegisters(t *testing.T) {
	r := newRig(t, "")
	r.do("hold nh3-2.gas 12.3")
	r.do("hold comp1.discharge-temp 101.5")
	r.do("hold receiver1.level 61.25")
	near := func(what string, got, want, by float64) {
		t.Helper()
		if math.Abs(got-want) > by {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("nh3-1", r.float(1, 0), 4.6, 1)
	near("nh3-2", r.float(2, 0), 12.3, 0)
	near("suction", r.float(10, 0), 0.19, 0.02)
	near("discharge", r.float(10, 2), 1.2, 0.1)
	near("discharge-temp", r.float(10, 4), 101.5, 0)
	near("oil", r.float(10, 6), 0.47, 0.02)
	near("load", r.float(10, 8), 60, 20)
	near("level", r.float(11, 0), 61.25, 0)
	if w := r.ask(2, modbus.ReadHoldings, 0, 3).Words; !slices.Equal(w, []uint16{0x4144, 0xcccd, 0}) { // 12.3 is 0x4144cccd
		t.Errorf("nh3-2: %x", w)
	}
	if w := r.ask(10, modbus.ReadHoldings, 4, 2).Words; !slices.Equal(w, []uint16{0x0000, 0x42cb}) { // 101.5 is 0x42cb0000
		t.Errorf("discharge-temp: %x", w)
	}
	r.do("condition nh3-3 warm-up")
	if w := r.ask(3, modbus.ReadHoldings, 2, 1).Words; !slices.Equal(w, []uint16{1}) {
		t.Errorf("state: %v", w)
	}
	if b := r.ask(10, modbus.ReadDiscretes, 0, 2).Bits; !slices.Equal(b, []bool{true, false}) {
		t.Errorf("run, trip: %v", b)
	}
	for _, x := range []struct {
		unit, function byte
		addr, count    int
	}{
		{1, modbus.ReadHoldings, 0, 4},
		{1, modbus.ReadHoldings, 3, 1},
		{1, modbus.ReadInputs, 0, 1},
		{1, modbus.ReadCoils, 0, 1},
		{20, modbus.ReadHoldings, 19, 1},
		{20, modbus.ReadHoldings, 23, 2},
		{20, modbus.ReadCoils, 0, 3},
		{1, modbus.WriteHolding, 0, 1},
		{10, modbus.WriteHolding, 0, 1},
		{20, modbus.WriteCoil, 2, 1},
		{20, modbus.WriteHolding, 24, 1},
	} {
		if rep := r.ask(x.unit, x.function, x.addr, x.count, 1); rep.Exception != modbus.IllegalAddress {
			t.Errorf("%+v: %+v", x, rep)
		}
	}
	if rep := r.ask(99, modbus.ReadHoldings, 0, 1); !rep.Silent {
		t.Errorf("unit 99: %+v", rep)
	}
}

// The coils drive fan and siren; the log has every write with who sent it, and
// every output's move with its cause.
func TestOutputs(t *testing.T) {
	r := newRig(t, "")
	r.pass(100 * time.Millisecond)
	sent := r.at - onWire
	r.ask(20, modbus.WriteCoils, 0, 2, 1, 1)
	r.pass(2 * time.Second)
	if b := r.ask(20, modbus.ReadDiscretes, 0, 2).Bits; !slices.Equal(b, []bool{true, true}) {
		t.Errorf("feedback %v", b)
	}
	r.ask(20, modbus.WriteCoil, 1, 1, 0)
	r.ask(20, modbus.WriteCoil, 2, 1, 1) // not there
	r.ask(1, modbus.WriteHolding, 0, 1, 7)
	r.pass(time.Second)
	log := r.log()
	var writes []logbook.Entry
	for _, e := range log {
		if e.Event == logbook.Write {
			writes = append(writes, e)
		}
	}
	if len(writes) != 4 || *writes[0].Done != true || *writes[2].Done || writes[2].By != "exception 2" || *writes[3].Done {
		t.Fatalf("writes %+v", writes)
	}
	if w := writes[0]; w.Mono != sent || w.Conn != 5 || w.Unit != 20 || w.Function != 15 || *w.Address != 0 || !slices.Equal(w.Values, []int{1, 1}) {
		t.Errorf("first write %+v", w)
	}
	fan, siren := logbook.On(log, "io1.fan-run"), logbook.On(log, "io1.siren-start")
	if len(fan) != 1 || time.Duration(fan[0].From-sent-onWire) != 1500*time.Millisecond || fan[0].To != math.MaxInt64 {
		t.Errorf("fan %v after the write at %d", fan, sent)
	}
	if len(siren) != 1 || siren[0].To == math.MaxInt64 {
		t.Errorf("siren %v", siren)
	}
	if w := logbook.Written(log, 20, 1, false, sent); len(w) != 1 || w[0].Function != 5 {
		t.Errorf("siren off: %+v", w)
	}
}

// The watchdog of the I/O module drops the outputs after its time, to the
// state that was set, once, and only where it is enabled.
func TestWatchdog(t *testing.T) {
	r := newRig(t, "")
	r.ask(20, modbus.WriteCoil, 0, 1, 1)
	r.pass(3 * WatchdogTime)
	if !r.p.FanStart {
		t.Fatal("a watchdog that is not enabled dropped the fan")
	}
	r.ask(20, modbus.WriteHoldings, 20, 3, 1, 1, 0b10) // served, enabled, siren when lost
	for range 3 {
		r.pass(WatchdogTime - process.Period)
		r.ask(20, modbus.WriteHolding, 20, 1, 1)
	}
	if !r.p.FanStart || r.p.Siren {
		t.Fatal("dropped while it was served")
	}
	r.pass(WatchdogTime)
	r.pass(time.Second)
	if r.p.FanStart || !r.p.Siren || !r.ask(20, modbus.ReadDiscretes, 2, 1).Bits[0] {
		t.Error("not dropped")
	}
	r.ask(20, modbus.WriteHolding, 20, 1, 1)
	r.ask(20, modbus.WriteCoils, 0, 2, 1, 0)
	r.pass(time.Second)
	if !r.p.FanStart || r.p.Siren || r.ask(20, modbus.ReadDiscretes, 2, 1).Bits[0] {
		t.Error("does not come back when it is served")
	}
	var dogs []bool
	for _, e := range r.log() {
		if e.Event == logbook.Watchdog {
			dogs = append(dogs, *e.On)
		}
		if e.Event == logbook.Bit && e.By == "watchdog" && e.Tag != "io1.fan-start" && e.Tag != "io1.siren-start" {
			t.Errorf("%+v", e)
		}
	}
	if !slices.Equal(dogs, []bool{true, false}) {
		t.Errorf("watchdog in the log: %v", dogs)
	}
}

// Without power the relays drop and the unit is silent; with it they take their power-up state.
func TestPower(t *testing.T) {
	r := newRig(t, "")
	r.ask(20, modbus.WriteHolding, 23, 1, 0b10)
	r.ask(20, modbus.WriteCoil, 0, 1, 1)
	r.do("power io1 off")
	if r.p.FanStart || r.p.Siren || !r.ask(20, modbus.ReadCoils, 0, 2).Silent {
		t.Error("without power")
	}
	r.do("power io1 on")
	if b := r.ask(20, modbus.ReadCoils, 0, 2).Bits; !slices.Equal(b, []bool{false, true}) || !r.p.Siren {
		t.Errorf("after power-up: %v", b)
	}
	r.do("power io1 on")                            // has it: nothing moves
	r.ask(20, modbus.WriteHoldings, 20, 3, 1, 1, 0) // the watchdog, and let it bite
	r.pass(WatchdogTime)
	r.do("power io1 off")
	r.do("power io1 on")
	r.pass(process.Period)
	if b := r.ask(20, modbus.ReadDiscretes, 2, 1).Bits; !slices.Equal(b, []bool{false}) || !r.p.Siren {
		t.Errorf("the watchdog after power-up: %v, siren %v", b, r.p.Siren)
	}
	r.pass(WatchdogTime)
	if r.p.Siren {
		t.Error("the watchdog is enabled for good and does not bite after power-up")
	}
	r.ask(20, modbus.WriteCoils, 0, 2, 1, 1)
	r.do("power io1 off")
	r.do("clear")
	if b := r.ask(20, modbus.ReadCoils, 0, 2).Bits; !slices.Equal(b, []bool{false, true}) {
		t.Errorf("after clear: %v", b)
	}
}

// A script is carried out at its times, between the very steps it says, and
// the whole run is the same again.
func TestScript(t *testing.T) {
	const text = "at 2s leak start 30\nat 1s mark begin\nat 14s leak stop\nat 5s dead nh3-3\nat 8s alive nh3-3\nat 14s mark end"
	play := func() []logbook.Entry {
		r := newRig(t, text)
		r.pass(20 * time.Second)
		return r.log()
	}
	a, b := play(), play()
	ja, _ := json.Marshal(a)
	jb, _ := json.Marshal(b)
	if string(ja) != string(jb) {
		t.Error("the same script and seed, another log")
	}
	zero := int64(time.Hour)
	if m := logbook.MarkAt(a, "begin"); m-zero != int64(time.Second) {
		t.Errorf("mark at %v", time.Duration(m-zero))
	}
	if s := logbook.Faulty(a, "dead nh3-3"); len(s) != 1 || s[0].From-zero != int64(5*time.Second) || s[0].To-zero != int64(8*time.Second) {
		t.Errorf("dead: %v", s)
	}
	for _, name := range []string{"nh3-1.gas", "nh3-2.gas", "nh3-3.gas"} {
		for _, level := range []float64{28, 56, 150} {
			s := logbook.Above(a, name, level, level)
			if len(s) != 1 || s[0].From < zero+int64(2*time.Second) {
				t.Errorf("%s above %v: %v", name, level, s)
			}
		}
	}
}

// From the log alone: how long from the second detector's register to the write.
func TestTripResponse(t *testing.T) {
	r := newRig(t, "")
	tags := []string{"nh3-1.gas", "nh3-2.gas", "nh3-3.gas"}
	r.ask(20, modbus.WriteCoil, 0, 1, 0) // an idle write before it does not count
	r.do("hold nh3-1.gas 160")
	r.pass(time.Second)
	if _, ok := logbook.TripResponse(r.log(), 150, tags, 20, 0); ok {
		t.Error("one detector is no trip")
	}
	r.do("hold nh3-3.gas 150")
	r.pass(230 * time.Millisecond)
	r.ask(20, modbus.WriteCoils, 0, 2, 1, 1)
	r.do("step off")
	r.pass(time.Second)
	log := r.log()
	if d, ok := logbook.TripResponse(log, 150, tags, 20, 0); !ok || d != 230*time.Millisecond-onWire {
		t.Errorf("%v %v", d, ok)
	}
	if s := logbook.Above(log, "nh3-3.gas", 150, 150); len(s) != 1 || s[0].Length(log[len(log)-1].Mono) != 230*time.Millisecond {
		t.Errorf("%v", s)
	}
	if s := logbook.Together(3, logbook.Above(log, tags[0], 150, 150), logbook.Above(log, tags[2], 150, 150)); s != nil {
		t.Errorf("%v", s)
	}
}

// When the machine sleeps the plant's time stands still and the log says how long.
func TestSlipped(t *testing.T) {
	r := newRig(t, "at 1s mark one\nat 10s mark ten")
	r.pass(500 * time.Millisecond)
	r.at += int64(30 * time.Second)
	r.tick()
	r.tick() // nothing is left over
	if got := r.p.Time(); got != 500*time.Millisecond+MaxCatchUp*process.Period {
		t.Errorf("plant at %v", got)
	}
	log := r.log()
	i := slices.IndexFunc(log, func(e logbook.Entry) bool { return e.Event == logbook.Slipped })
	if i < 0 || *log[i].Value != 28 {
		t.Errorf("slipped: %+v", log)
	}
	if logbook.MarkAt(log, "one") == 0 || logbook.MarkAt(log, "ten") != 0 {
		t.Error("a script's times are not the plant's")
	}
}

// The state is one line of JSON that says what the registers say.
func TestState(t *testing.T) {
	r := newRig(t, "at 50s leak stop")
	r.do("step 160")
	r.do("dead nh3-3")
	r.ask(20, modbus.WriteCoil, 0, 1, 1)
	s, err := r.Do(t.Context(), script.Command{Form: "state"})
	if err != nil || strings.Contains(s, "\n") {
		t.Fatal(s, err)
	}
	var got struct {
		Tags   map[string]float64
		Held   map[string]float64
		Faults []string
		Coils  []bool
		Fan    struct{ Command, Runs bool }
		Left   int `json:"script_lines_left"`
	}
	if err := json.Unmarshal([]byte(s), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tags["nh3-3.gas"] != 160 || len(got.Held) != 3 || !slices.Equal(got.Faults, []string{"dead nh3-3"}) ||
		!slices.Equal(got.Coils, []bool{true, false}) || !got.Fan.Command || got.Fan.Runs || got.Left != 1 {
		t.Errorf("%s", s)
	}
	r.do("step off")
	if v := r.float(1, 0); v > 10 {
		t.Errorf("after step off: %v", v)
	}
}

// Every form of the script's grammar has a meaning here.
func TestEveryForm(t *testing.T) {
	fill := strings.NewReplacer("RATE", "2", "NUMBER", "30", "UNIT", "nh3-1", "DURATION", "1s", "TABLE", "holding",
		"ADDRESS", "1", "CODE", "4", "TAG", "receiver1.level", "TEXT", "x", "EVERY", "3", "NODE", "comp1.run", "STATUS", "bad")
	r := newRig(t, "")
	for _, form := range script.Forms {
		r.do(fill.Replace(form)) // a form without a meaning is a BUG and panics
	}
	r.pass(time.Second)
}
