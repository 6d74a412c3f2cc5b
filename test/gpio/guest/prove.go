package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers"
	"davy/drivers/gpio"
	"davy/drivers/tag"
)

// proof is one run of all proofs.
type proof struct {
	d    gpio.Driver
	log  *slog.Logger
	name string
	seen []string
	bad  []string
}

// part is one of the proofs.
type part struct {
	name string
	run  func()
}

// prove runs all proofs, or those that take the chip away.
func prove(unplug bool) {
	p := &proof{d: gpio.New(), log: logger()}
	parts := []part{
		{"chip", p.chip},
		{"inputs", p.inputs},
		{"outputs", p.outputs},
		{"two-requesters", p.twoRequesters},
		{"edges", p.edges},
		{"debounce", p.debounce},
		{"process-death", p.death},
		{"errors", p.errors},
	}
	if runtime.GOARCH == "arm64" { // once is enough: it takes six seconds
		parts = append(parts, part{"lost-edges", p.lost})
	}
	if unplug {
		parts = []part{{"unplugged", p.unplugged}}
	}
	for _, part := range parts {
		p.name, p.seen, p.bad = part.name, nil, nil
		part.run()
		if len(p.bad) > 0 {
			say("FAIL %s/%s: %s", runtime.GOARCH, p.name, strings.Join(p.bad, "; "))
		} else {
			say("ok %s/%s: %s", runtime.GOARCH, p.name, strings.Join(p.seen, "; "))
		}
	}
}

func (p *proof) saw(format string, args ...any) {
	p.seen = append(p.seen, fmt.Sprintf(format, args...))
}

// hold says what was seen, or that it should not have been.
func (p *proof) hold(ok bool, format string, args ...any) {
	if ok {
		p.saw(format, args...)
	} else {
		p.bad = append(p.bad, fmt.Sprintf(format, args...))
	}
}

func now() tag.Stamp {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("BUG: guest: " + err.Error())
	}
	return tag.Stamp{Wall: time.Now().UnixNano(), Mono: ts.Nano()}
}

// open makes a link to a chip.
func (p *proof) open(target, mode string) drivers.Link {
	s, err := p.d.ParseLink(target, drivers.Fields{"mode": mode})
	if err != nil {
		panic("BUG: guest: " + err.Error())
	}
	l, err := p.d.Open(context.Background(), drivers.LinkConfig{Name: "io", Settings: s, Timeout: 2 * time.Second, Log: p.log, Now: now})
	if err != nil {
		panic("BUG: guest: " + err.Error())
	}
	return l
}

// points makes a point of each address; outputs may be written.
func (p *proof) points(fields drivers.Fields, addresses ...string) (out []drivers.Point) {
	o, err := p.d.ParseDevice(fields)
	if err != nil {
		panic("BUG: guest: " + err.Error())
	}
	for i, s := range addresses {
		a, err := p.d.ParseAddress(s)
		if err != nil {
			panic("BUG: guest: " + err.Error())
		}
		t, err := p.d.ParseType(a, "")
		if err != nil {
			panic("BUG: guest: " + err.Error())
		}
		out = append(out, drivers.Point{
			Tag: tag.ID(i + 1), Name: tag.Name("io." + s), Address: a, Type: t, Options: o,
			Period: 200 * time.Millisecond, Write: a.(gpio.Address).Output,
		})
	}
	return out
}

// read reads points once.
func (p *proof) read(l drivers.Link, points []drivers.Point) ([]tag.Reading, error) {
	reqs, err := p.d.Plan(drivers.Settings{}, points)
	if err != nil {
		return nil, err
	}
	var out []tag.Reading
	for _, r := range reqs {
		if out, err = l.Read(context.Background(), r, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func texts(rs []tag.Reading) string {
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("%v(%s)", r.Value, quality(r.Quality)))
	}
	return strings.Join(out, " ")
}

func quality(q tag.Quality) string {
	switch q {
	case tag.GoodQuality:
		return "good"
	case tag.BadConfig:
		return "bad: configuration"
	case tag.BadNoComm:
		return "bad: no communication"
	case tag.BadDeviceFault:
		return "bad: device"
	}
	return fmt.Sprintf("%#x", uint32(q))
}

func (p *proof) chip() {
	for _, target := range []string{"gpiochip0", "/dev/gpiochip0", "9030000.pl061"} {
		c, err := gpio.OpenChip(target)
		if err != nil {
			p.hold(false, "%s: %v", target, err)
			continue
		}
		names, err := c.Names()
		p.hold(err == nil && c.Name == "gpiochip0" && c.Lines == 8 && len(names["BUTTON"]) == 1 && names["BUTTON"][0] == 3 && len(names["TWIN"]) == 2,
			"%s is %s (%s), %d lines, BUTTON is %v, TWIN is %v, err %v", target, c.Name, c.Label, c.Lines, names["BUTTON"], names["TWIN"], err)
		c.Close()
	}
	_, err := gpio.OpenChip("gpiochip7")
	p.hold(errors.Is(err, gpio.ErrNoChip), "gpiochip7: %v", err)
	_, err = gpio.OpenChip("/dev/null")
	p.hold(errors.Is(err, unix.ENOTTY), "/dev/null: %v", err)
}

func (p *proof) inputs() {
	l := p.open("gpiochip0", "poll")
	defer l.Close()
	rs, err := p.read(l, p.points(nil, "line DI1", "line DI2 inverted", "line DI2", "line NOBODY", "line TWIN", "line 8", "line 7"))
	good := err == nil && len(rs) == 7
	for i, want := range []tag.Quality{tag.GoodQuality, tag.GoodQuality, tag.GoodQuality, tag.BadConfig, tag.BadConfig, tag.BadConfig, tag.GoodQuality} {
		good = good && rs[i].Quality == want
	}
	p.hold(good && rs[1].Value != rs[2].Value, "DI1, DI2 inverted, DI2, a name that is not there, one that is there twice, line 8 of 8, line 7: %s, err %v", texts(rs), err)
}

// direction is what the kernel says of a line.
func (p *proof) direction(name string) (output, used bool) {
	c, err := gpio.OpenChip("gpiochip0")
	if err != nil {
		return false, false
	}
	defer c.Close()
	names, err := c.Names()
	if err != nil || len(names[name]) != 1 {
		return false, false
	}
	info, err := c.Info(names[name][0])
	return err == nil && info.Output, err == nil && info.Used
}

func (p *proof) outputs() {
	was, _ := p.direction("RELAY1") // the program before left it as an output
	l := p.open("gpiochip0", "poll")
	pts := p.points(nil, "output RELAY1", "output RELAY1 inverted")
	rs, err := p.read(l, pts)
	output, used := p.direction("RELAY1")
	p.hold(err == nil && rs[0].Quality.Good() && output == was && used, "before the first write: %s, direction output: %v, taken: %v, err %v", texts(rs), output, used, err)
	for _, v := range []bool{true, false, true} {
		err := l.Write(context.Background(), pts[0], tag.BoolValue(v))
		rs, rerr := p.read(l, pts)
		p.hold(err == nil && rerr == nil && rs[0].Value == tag.BoolValue(v) && rs[1].Value == tag.BoolValue(!v), "written %v: %s, err %v, %v", v, texts(rs), err, rerr)
	}
	for range 100 {
		rs, err = p.read(l, pts)
		output, _ = p.direction("RELAY1")
		if err != nil || !output || rs[0].Value != tag.BoolValue(true) {
			p.hold(false, "reading changed the output: %s, direction output: %v, err %v", texts(rs), output, err)
			break
		}
	}
	p.saw("100 readings later it is an output still, and high")
	no := pts[0]
	no.Write = false
	err = l.Write(context.Background(), no, tag.BoolValue(false))
	p.hold(errors.Is(err, drivers.ErrReadOnly), "not in may_write: %v", err)
	err = l.Close()
	output, used = p.direction("RELAY1")
	p.hold(err == nil && output && used, "its link closed: direction output: %v, taken: %v, err %v", output, used, err)
	l = p.open("gpiochip0", "poll")
	defer l.Close()
	rs, err = p.read(l, pts)
	p.hold(err == nil && rs[0].Value == tag.BoolValue(true), "the next link: %s, err %v", texts(rs), err)
	rs, err = p.read(l, p.points(nil, "line RELAY1", "line DI1"))
	output, _ = p.direction("RELAY1")
	p.hold(err == nil && rs[0].Quality == tag.BadConfig && rs[1].Quality.Good() && output, "asked for as an input: %s, and it is an output still: %v", texts(rs), output)
	err = l.Write(context.Background(), pts[0], tag.BoolValue(false))
	p.hold(err == nil, "written false again: %v", err)
}

// other is another process, with its own driver.
func other(what, line, level string) {
	p := &proof{d: gpio.New(), log: logger()}
	l := p.open("gpiochip0", "poll")
	pts := p.points(nil, "output "+line)
	switch what {
	case "read":
		rs, err := p.read(l, pts)
		fmt.Printf("%s err %v\n", texts(rs), err)
	case "write":
		err := l.Write(context.Background(), pts[0], tag.BoolValue(level == "true"))
		if p, l = nil, nil; err == nil {
			for range 3 { // nobody can reach the driver any more: it must hold the line all the same
				runtime.GC()
				time.Sleep(20 * time.Millisecond)
			}
		}
		fmt.Printf("err %v\n", err)
		if err == nil {
			forever() // until it is killed
		}
	}
}

// child starts another process of this program and returns its first line;
// it lives until end is called, which kills it.
func (p *proof) child(args ...string) (said string, end func()) {
	c := exec.Command("/proc/self/exe", args...)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		p.hold(false, "child: %v", err)
		return "", func() {}
	}
	r := bufio.NewReader(out)
	for !strings.Contains(said, "err ") && err == nil { // what it logs comes before
		said, err = r.ReadString('\n')
	}
	return strings.TrimSpace(said), func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
	}
}

func (p *proof) twoRequesters() {
	l := p.open("gpiochip0", "poll")
	defer l.Close()
	said, end := p.child("write", "RELAY2", "true")
	p.hold(said == "err <nil>", "another process drives RELAY2: %s", said)
	pts := p.points(nil, "output RELAY2", "output RELAY1")
	rs, err := p.read(l, pts)
	p.hold(err == nil && rs[0].Quality == tag.BadDeviceFault && rs[1].Quality.Good(), "this one reads RELAY2, RELAY1: %s, err %v", texts(rs), err)
	err = l.Write(context.Background(), pts[0], tag.BoolValue(false))
	p.hold(errors.Is(err, unix.EBUSY), "and writes it: %v", err)
	rs, err = p.read(l, p.points(nil, "line RELAY2"))
	p.hold(err == nil && rs[0].Quality == tag.BadDeviceFault, "as an input: %s, err %v", texts(rs), err)
	end()
	said, end = p.child("read", "RELAY1", "-")
	end()
	p.hold(strings.Contains(said, "bad: device"), "another process reads RELAY1, which this one holds: %s", said)
}

// death is what becomes of an output whose process is killed.
func (p *proof) death() {
	for _, level := range []string{"true", "false"} {
		said, end := p.child("write", "RELAY2", level)
		before, used := p.direction("RELAY2")
		p.hold(said == "err <nil>" && before && used, "a process drives RELAY2 %s (%s), output: %v, taken: %v", level, said, before, used)
		end()
		after := state("RELAY2")
		want := map[string]string{"true": "output High", "false": "output Low"}[level]
		p.hold(after == want, "killed: %s", after)
		l := p.open("gpiochip0", "poll")
		rs, err := p.read(l, p.points(nil, "line RELAY2"))
		still, taken := p.direction("RELAY2")
		p.hold(err == nil && rs[0].Quality == tag.BadConfig && still && !taken, "asked for as an input, while nobody has it: %s, err %v, output: %v, taken: %v", texts(rs), err, still, taken)
		l.Close()
		said, end = p.child("read", "RELAY2", "-")
		end()
		p.hold(strings.HasPrefix(said, level+"(good)") && state("RELAY2") == want, "the next process reads it as it was: %s, and leaves it: %s", said, state("RELAY2"))
	}
}

// pl061 binds the chip to its driver, or takes it away, as unplugging does.
func pl061(what string) error {
	at, err := filepath.Glob("/sys/bus/amba/drivers/*/9030000.pl061")
	if what == "bind" {
		at, err = filepath.Glob("/sys/bus/amba/drivers/pl061*/bind")
	}
	if err != nil || len(at) != 1 {
		return fmt.Errorf("%d drivers, %v", len(at), err)
	}
	return os.WriteFile(filepath.Join(filepath.Dir(at[0]), what), []byte("9030000.pl061"), 0)
}

func (p *proof) unplugged() {
	poll, push, writer := p.open("9030000.pl061", "poll"), p.open("9030000.pl061", "edges"), p.open("9030000.pl061", "poll")
	defer poll.Close()
	defer push.Close()
	defer writer.Close()
	in, out := p.points(nil, "line DI1"), p.points(nil, "output RELAY1")
	b, _, ended := p.subscribe(push, p.points(nil, "line DI2"))
	_, ok := b.wait(5*time.Second, func(rs []tag.Reading) bool { return len(rs) > 0 })
	rs, err := p.read(poll, in)
	werr := writer.Write(context.Background(), out[0], tag.BoolValue(true))
	p.hold(ok && err == nil && rs[0].Quality.Good() && werr == nil, "before: %s, err %v, %v", texts(rs), err, werr)

	err = pl061("unbind")
	p.hold(err == nil, "the chip is taken away: %v", err)
	select {
	case err = <-ended:
		p.hold(err != nil, "the subscription ends: %v", err)
	case <-time.After(5 * time.Second):
		p.hold(false, "the subscription goes on as if nothing had happened")
	}
	for range 2 {
		rs, err = p.read(poll, in)
		p.hold(err != nil && rs[0].Quality == tag.BadNoComm, "input: %s, err %v", texts(rs), err)
	}
	rs, err = p.read(writer, out)
	p.hold(err != nil && rs[0].Quality == tag.BadNoComm, "output: %s, err %v", texts(rs), err)
	werr = writer.Write(context.Background(), out[0], tag.BoolValue(true))
	p.hold(werr != nil, "write: %v", werr)

	err = pl061("bind")
	p.hold(err == nil, "it is back: %v", err)
	rs, err = p.read(poll, in)
	p.hold(err == nil && rs[0].Quality.Good(), "input: %s, err %v", texts(rs), err)
	werr = writer.Write(context.Background(), out[0], tag.BoolValue(false))
	rs, err = p.read(writer, out)
	p.hold(werr == nil && err == nil && rs[0].Value == tag.BoolValue(false), "output written and read: %s, err %v, %v", texts(rs), werr, err)
}

func (p *proof) errors() {
	l := p.open("no-such-label", "poll")
	rs, err := p.read(l, p.points(nil, "line DI1"))
	p.hold(errors.Is(err, gpio.ErrNoChip) && rs[0].Quality == tag.BadNoComm, "a label that no chip has: %s, err %v", texts(rs), err)
	l.Close()

	a := gpio.NewAnalogue()
	s, err := a.ParseLink("/dev/i2c-1 0x48", nil)
	if err != nil {
		p.hold(false, "parse: %v", err)
		return
	}
	l, err = a.Open(context.Background(), drivers.LinkConfig{Name: "ai", Settings: s, Timeout: time.Second, Log: logger(), Now: now})
	if err != nil {
		p.hold(false, "open: %v", err)
		return
	}
	defer l.Close()
	at, err := a.ParseAddress("channel 0")
	if err != nil {
		p.hold(false, "parse: %v", err)
		return
	}
	reqs, err := a.Plan(s, []drivers.Point{{Tag: 1, Name: "ai.a", Address: at, Type: drivers.Type{Kind: tag.Float64}}})
	if err != nil {
		p.hold(false, "plan: %v", err)
		return
	}
	rs, err = l.Read(context.Background(), reqs[0], nil)
	p.hold(err != nil && rs[0].Quality == tag.BadNoComm, "a converter on a bus that is not there: %s, err %v", texts(rs), err)
}
