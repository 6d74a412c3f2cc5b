package operate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers/tag"
	"davy/rules"
)

// reader is a handler that reads.
type reader struct {
	agent
	asked chan string
	let   chan struct{} // ReadNow waits for it, if set
}

func (r *reader) ReadNow(ctx context.Context, name string) (*Fresh, error) {
	if r.asked != nil {
		r.asked <- name
	}
	if r.let != nil {
		select {
		case <-r.let:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if name != "nh3-1.gas" {
		return nil, &Error{Code: UnknownTag, Args: map[string]any{"tag": name}}
	}
	return gas(), nil
}

func gas() *Fresh {
	v, _ := tag.Float32Value(21.3)
	t := &config.Tag{Name: "nh3-1.gas", Unit: "ppm", Text: rules.Text{Zh: "氨气浓度", En: "Ammonia"}}
	r := tag.Reading{Value: v, Quality: tag.GoodQuality | tag.Maintenance, Received: stamp("2026-03-02 03:00:00")}
	return FreshOf(t, r, 12345*time.Microsecond, nil)
}

func serveReader(t *testing.T, r *reader) *Client {
	t.Helper()
	path, _ := serveHandler(t, r)
	return &Client{Path: path}
}

// One tag, read now, over the socket.
func TestReadNow(t *testing.T) {
	c := serveReader(t, &reader{})
	f, err := c.ReadNow(t.Context(), "nh3-1.gas")
	if err != nil || *f.Value != 21.3 || f.Unit != "ppm" || f.Quality != "good" || f.Took != 12.345 || f.Flags[0] != "maintenance" || !f.At.Equal(gas().At) {
		t.Errorf("%+v, %v", f, err)
	}
	var said *Error
	if _, err = c.ReadNow(t.Context(), "nh3-9.gas"); !errors.As(err, &said) || said.Code != UnknownTag || said.In(i18n.En) != "there is no tag nh3-9.gas" {
		t.Errorf("unknown tag: %v", err)
	}
	if _, err = c.ReadNow(t.Context(), "a\x1b[2J"); !errors.As(err, &said) || said.Code != "operate.bad-text" {
		t.Errorf("a tag that moves the cursor: %v", err)
	}
	if _, err = c.ReadNow(t.Context(), strings.Repeat("x", MaxName+1)); !errors.As(err, &said) || said.Code != "operate.too-long" {
		t.Errorf("a long tag: %v", err)
	}
}

// A handler that cannot read says so; it is not asked.
func TestReadNowOfWhoCannot(t *testing.T) {
	path, _ := serve(t, &agent{view: night()})
	var said *Error
	if _, err := (&Client{Path: path}).ReadNow(t.Context(), "x"); !errors.As(err, &said) || said.Code != "operate.unknown-request" {
		t.Errorf("%v", err)
	}
}

// More than MaxReads at once are told that it is busy, and views and commands
// go on meanwhile.
func TestReadNowIsBounded(t *testing.T) {
	r := &reader{agent: agent{view: night()}, asked: make(chan string, MaxReads), let: make(chan struct{})}
	c := serveReader(t, r)
	var wg sync.WaitGroup
	for range MaxReads {
		wg.Go(func() {
			if _, err := c.ReadNow(t.Context(), "nh3-1.gas"); err != nil {
				t.Error(err)
			}
		})
	}
	for range MaxReads {
		<-r.asked
	}
	var said *Error
	if _, err := c.once(t.Context(), Command{Do: Read, Tag: "nh3-1.gas"}, ReadWait); !errors.As(err, &said) || said.Code != busy {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.View(t.Context(), Status); err != nil {
		t.Errorf("view: %v", err)
	}
	close(r.let)
	wg.Wait()
}

// Every quality has its words, in both languages, and its JSON.
func TestFreshPaper(t *testing.T) {
	number, _ := tag.Float64Value(-3.25)
	plain := &config.Tag{Name: "t.x", Unit: "°C"}
	mode := &config.Tag{Name: "d.mode", Names: []config.Name{{Code: 0, Name: "stop"}, {Code: 7, Name: "run-down"}}}
	for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
		var out bytes.Buffer
		write := func(f *Fresh) {
			if err := f.Write(&out, l); err != nil {
				t.Fatal(err)
			}
			if _, err := json.Marshal(f); err != nil {
				t.Fatal(err)
			}
		}
		write(gas())
		write(FreshOf(mode, tag.Reading{Value: tag.EnumValue(7), Quality: tag.GoodQuality}, time.Second, nil))
		write(FreshOf(mode, tag.Reading{Value: tag.EnumValue(3), Quality: tag.BadConfig}, time.Millisecond, nil))
		write(FreshOf(&config.Tag{Name: "d.gas", Names: []config.Name{{Code: 2, Name: "Cl2"}}}, tag.Reading{Value: tag.TextValue(2), Quality: tag.GoodQuality}, 0, nil))
		write(FreshOf(plain, tag.Reading{Quality: tag.BadNoComm}, 300*time.Millisecond, errors.New("read plc station 3 holding 0: no answer within 300ms")))
		for r := tag.NeverRead; r <= tag.LocalOverride; r++ {
			write(FreshOf(plain, tag.Reading{Value: number, Quality: tag.MakeQuality(r.Status(), r, 0)}, 0, nil))
		}
		write(FreshOf(plain, tag.Reading{Value: number, Quality: tag.GoodQuality | tag.Constant | tag.Forced | tag.Test}, 0, nil))
		pushed := FreshOf(plain, tag.Reading{Value: number, Quality: tag.GoodQuality, Received: stamp("2026-03-02 03:00:00")}, 0, nil)
		pushed.Pushed, pushed.Age = true, 61.25
		write(pushed)
		pushed = FreshOf(plain, tag.Reading{}, 0, errors.New("link silent\x1b[2J"))
		pushed.Pushed = true
		write(pushed)
		golden(t, "fresh."+string(l)+".golden", out.String())
		if strings.Contains(out.String(), "⟨") {
			t.Errorf("words are missing:\n%s", out.String())
		}
	}
}

// A computed tag has no device: its line must not speak of one.
func TestFreshComputed(t *testing.T) {
	v, _ := tag.Float64Value(77)
	f := FreshOf(&config.Tag{Name: "room.worst", Unit: "ppm"}, tag.Reading{Value: v, Quality: tag.GoodQuality, Received: stamp("2026-03-02 03:00:00")}, 0, nil)
	f.Computed, f.Age = true, 2.04
	for l, want := range map[i18n.Lang]string{
		i18n.En: "room.worst  77 ppm  good  as computed 2.0 s ago (anew when what it is made of changes)\n",
		i18n.Zh: "room.worst  77 ppm  好  2.0 秒前算得（所依据的量变化时重新计算）\n",
	} {
		var out bytes.Buffer
		if err := f.Write(&out, l); err != nil || out.String() != want {
			t.Errorf("%q, want %q (%v)", out.String(), want, err)
		}
	}
}

// An amount is no code: 0.7 of a drive is not the name of 0.
func TestAnAmountHasNoName(t *testing.T) {
	v, _ := tag.Float64Value(0.7)
	drive := &config.Tag{Name: "fan.state", Names: []config.Name{{Code: 0, Name: "stop"}, {Code: 100, Name: "run"}}}
	if f := FreshOf(drive, tag.Reading{Value: v, Quality: tag.GoodQuality}, 0, nil); f.Name != "" || *f.Value != 0.7 {
		t.Errorf("%+v", f)
	}
}

// An error may hold a device's own words: they move no cursor on any screen.
func TestProblemsMoveNoCursor(t *testing.T) {
	v := night()
	v.Links[0].Problem = "a\x1b[2J\nb\u202e"
	var b bytes.Buffer
	if err := v.WriteStatus(&b, i18n.En); err != nil || !strings.Contains(b.String(), "a [2J b") || strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Errorf("%v: %q", err, b.String())
	}
}

// What is to be known of a link stands on every screen.
func TestNotesOfLinks(t *testing.T) {
	v := &View{
		Armed: true, Latch: Latch{Durable: true}, Keeper: Keeper{State: KeeperRunning}, Clock: Clock{Trusted: true},
		Links: []Link{{Name: "dcs", State: LinkAnswering, ReadOnly: true, Notes: []string{"link.note.no-security"}}},
	}
	for l, want := range map[i18n.Lang]string{
		i18n.En: "! link dcs: no security: anyone on this network can read and change what is sent\n",
		i18n.Zh: "! 链路 dcs：无安全措施：此网络上任何人都能读取和篡改所传内容\n",
	} {
		for name, write := range map[string]func(*bytes.Buffer) error{
			"status": func(b *bytes.Buffer) error { return v.WriteStatus(b, l) },
			"alarms": func(b *bytes.Buffer) error { return v.WriteAlarms(b, l) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil || !strings.Contains(b.String(), want) {
				t.Errorf("%s: %v:\n%s", name, err, b.String())
			}
		}
	}
}
