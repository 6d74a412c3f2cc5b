package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/drivertest"
	"davy/drivers/tag"
)

// inBubble returns a clock of the bubble.
func inBubble() func() tag.Stamp {
	start := time.Now()
	return func() tag.Stamp { return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(start))} }
}

func points(t *testing.T, n int) []drivers.Point {
	t.Helper()
	var out []drivers.Point
	for i := range n {
		a, err := Driver{}.ParseAddress(fmt.Sprintf("p%d", i))
		if err != nil {
			t.Fatal(err)
		}
		typ, err := Driver{}.ParseType(a, "int")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, drivers.Point{Tag: tag.ID(i + 1), Name: tag.Name("d." + a.String()), Station: 1 + i%2, Address: a, Type: typ, Period: time.Second})
	}
	return out
}

// era is a value that a point held from an instant until the next.
type era struct {
	v    tag.Value
	from int64
}

func TestSimKeepsTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { drivertest.Run(t, contract(t)) })
}

// overstaying is the driver whose links read for longer than they may.
type overstaying struct{ drivers.Driver }

func (o overstaying) Open(ctx context.Context, c drivers.LinkConfig) (drivers.Link, error) {
	l, err := o.Driver.Open(ctx, c)
	return late{l}, err
}

type late struct{ drivers.Link }

func (l late) Read(ctx context.Context, q drivers.Request, dst []tag.Reading) ([]tag.Reading, error) {
	<-time.After(3 * time.Second)
	return l.Link.Read(ctx, q, dst)
}

// A request that goes on after its time is seen, and is no stall of the machine's.
func TestTheContractSeesWhatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := contract(t)
		r.Driver = overstaying{r.Driver}
		if !slices.ContainsFunc(drivertest.Check(t.Context(), r, 1), func(v drivertest.Violation) bool { return v.Kind == drivertest.Late }) {
			t.Error("a link that reads three seconds longer than it may is not called late")
		}
	})
}

// contract is a device in memory and what it can do wrong; only in a bubble.
func contract(t *testing.T) *drivertest.Rig {
	plant, now := &Plant{}, inBubble()
	d := plant.Device("plc")
	ps := points(t, 8)
	history := make([][]era, len(ps))
	next := int64(0)
	change := func(i int) {
		next++
		v := tag.IntValue(next<<8 | int64(i))
		history[i] = append(history[i], era{v, now().Mono})
		d.Set(ps[i].Address.String(), v)
	}
	for i := range ps {
		change(i)
	}
	d.Set("out", tag.BoolValue(false))
	var odd []string // the other station's
	for i := 1; i < len(ps); i += 2 {
		odd = append(odd, ps[i].Address.String())
	}
	behave := func(b Behaviour) func() { return func() { d.Behave(b) } }
	return &drivertest.Rig{
		Driver: Driver{Plant: plant},
		Config: drivers.LinkConfig{Name: "plc", Settings: drivers.Settings{Target: "plc"}, Timeout: 300 * time.Millisecond, Now: now},
		Points: ps,
		Change: change,
		Heal:   behave(Behaviour{}),
		Faults: []drivertest.Fault{
			{Name: "slow", Begin: behave(Behaviour{Delay: 299 * time.Millisecond}), Good: true},
			{Kind: drivertest.LateDuring, Name: "late", Begin: behave(Behaviour{Delay: 301 * time.Millisecond})},
			{Kind: drivertest.Reconnected, Name: "away", Begin: behave(Behaviour{Away: true})},
			{Kind: drivertest.Silent, Name: "silent", Begin: behave(Behaviour{Silent: true})},
			{Kind: drivertest.Speechless, Name: "mute", Begin: behave(Behaviour{Mute: true})},
			{Kind: drivertest.Refused, Name: "refuse", Begin: behave(Behaviour{Refuse: true})},
			{Kind: drivertest.Garbled, Name: "garbled", Begin: behave(Behaviour{Garbled: true})},
			{
				Kind: drivertest.TwoDevices, Name: "one of two away", Begin: behave(Behaviour{Unreadable: odd}),
				Spares: func(i int) bool { return i%2 == 0 },
			},
		},
		Cannot: inMemory(),
		Lack:   []func(int){func(i int) { d.Behave(Behaviour{Unreadable: []string{ps[i].Address.String()}}) }},
		Held: func(i int, v tag.Value, from, to tag.Stamp) bool {
			for n, e := range history[i] {
				if e.v == v && e.from <= to.Mono && (n+1 == len(history[i]) || history[i][n+1].from >= from.Mono) {
					return true
				}
			}
			return false
		},
		Silence: func(done bool) { d.Behave(Behaviour{Silent: !done, Mute: done}) },
		Write:   drivers.Point{Tag: 99, Name: "d.out", Address: Address("out"), Type: drivers.Type{Kind: tag.Bool, Bits: 1}, Write: true},
		Written: func() tag.Value { v, _ := d.Value("out", now()); return v },
	}
}

// inMemory is what cannot happen to a device that has neither frames nor connections.
func inMemory() map[drivertest.Kind]string {
	out := map[drivertest.Kind]string{}
	for _, k := range []drivertest.Kind{
		drivertest.Short, drivertest.Long, drivertest.WrongStation, drivertest.WrongFunction, drivertest.LateBefore,
		drivertest.Duplicate, drivertest.Bytewise, drivertest.Reset, drivertest.HalfOpen,
	} {
		out[k] = "the device is in memory: there are no frames and no connections"
	}
	return out
}

func open(t *testing.T, p *Plant, now func() tag.Stamp) drivers.Subscriber {
	t.Helper()
	l, err := Driver{Plant: p}.Open(t.Context(), drivers.LinkConfig{Name: "dcs", Settings: drivers.Settings{Target: "dcs"}, Timeout: time.Second, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	s, ok := l.(drivers.Subscriber)
	if !ok {
		t.Fatal("the link does not subscribe")
	}
	return s
}

func TestASubscriptionTellsEveryChangeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plant, now := &Plant{}, inBubble()
		d, ps := plant.Device("dcs"), points(t, 3)
		d.Set("p0", tag.IntValue(0))
		d.Set("p1", tag.IntValue(100))
		link := open(t, plant, now)
		ctx, cancel := context.WithCancel(t.Context())
		got, done := map[tag.ID][]int64{}, make(chan error, 1)
		var quality tag.Quality
		go func() {
			done <- link.Subscribe(ctx, ps, func(rs []tag.Reading) {
				for _, r := range rs {
					got[r.Tag] = append(got[r.Tag], r.Value.Int())
					if r.Tag == 3 {
						quality = r.Quality
					}
				}
			})
		}()
		synctest.Wait()
		want := []int64{0}
		for i := range int64(100) {
			d.Set("p0", tag.IntValue(i+1))
			want = append(want, i+1)
			if i%7 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if !slices.Equal(got[1], want) || !slices.Equal(got[2], []int64{100}) {
			t.Errorf("got %v and %v", got[1], got[2])
		}
		if quality != tag.BadConfig {
			t.Errorf("a point that is not there is %#x", uint32(quality))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the subscription ended with %v", err)
		}
		if len(d.feeds) != 0 {
			t.Error("the device still feeds a subscription that ended")
		}
	})
}

func TestASubscriptionInDoubtEnds(t *testing.T) {
	for name, doubt := range map[string]func(*Device){
		"silent": func(d *Device) { d.Behave(Behaviour{Silent: true}) },
		"away":   func(d *Device) { d.Behave(Behaviour{Away: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plant, now := &Plant{}, inBubble()
				d := plant.Device("dcs")
				d.Set("p0", tag.IntValue(1))
				link := open(t, plant, now)
				done := make(chan error, 1)
				go func() { done <- link.Subscribe(t.Context(), points(t, 1), func([]tag.Reading) {}) }()
				synctest.Wait()
				doubt(d)
				from := time.Now()
				if err := <-done; !errors.Is(err, errAway) {
					t.Errorf("it ended with %v", err)
				}
				if took := time.Since(from); took != time.Second {
					t.Errorf("it took %v to be in doubt", took)
				}
			})
		})
	}
}

func TestAShortSilenceIsNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plant, now := &Plant{}, inBubble()
		d := plant.Device("dcs")
		d.Set("p0", tag.IntValue(1))
		link := open(t, plant, now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		last := int64(0)
		go func() {
			done <- link.Subscribe(ctx, points(t, 1), func(rs []tag.Reading) { last = rs[len(rs)-1].Value.Int() })
		}()
		synctest.Wait()
		d.Behave(Behaviour{Silent: true})
		time.Sleep(900 * time.Millisecond)
		d.Set("p0", tag.IntValue(2))
		synctest.Wait()
		if last != 1 {
			t.Errorf("a silent device told of %d", last)
		}
		d.Behave(Behaviour{})
		synctest.Wait()
		if last != 2 {
			t.Errorf("after the silence the point is %d", last)
		}
		cancel()
		<-done
	})
}

func TestTooManyChangesEndASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plant, now := &Plant{}, inBubble()
		d := plant.Device("dcs")
		d.Set("p0", tag.IntValue(1))
		link := open(t, plant, now)
		stall, done := make(chan bool), make(chan error, 1)
		go func() {
			done <- link.Subscribe(t.Context(), points(t, 1), func([]tag.Reading) { <-stall })
		}()
		synctest.Wait()
		for i := range int64(MaxQueue + 1) {
			d.Set("p0", tag.IntValue(i))
		}
		close(stall)
		if err := <-done; err == nil {
			t.Error("a subscription that lost changes went on")
		}
	})
}

func TestAScriptIsReadAndSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plant, now := &Plant{}, inBubble()
		d := plant.Device("dcs")
		d.Script("p0", func(at tag.Stamp) (tag.Value, tag.Quality) {
			return tag.IntValue(at.Mono / int64(3*time.Second)), tag.GoodQuality
		})
		link := open(t, plant, now)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var got []int64
		err := link.Subscribe(ctx, points(t, 1), func(rs []tag.Reading) {
			for _, r := range rs {
				got = append(got, r.Value.Int())
			}
		})
		if want := []int64{0, 1, 2, 3}; !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(slices.Compact(got), want) {
			t.Errorf("sampled %v (%v), want %v", got, err, want)
		}
		if v, q := d.Value("p0", now()); v != tag.IntValue(3) || !q.Good() {
			t.Errorf("the script says %v", v)
		}
	})
}

func TestConvert(t *testing.T) {
	f := func(p drivers.Point, in tag.Value, want string, wantQ tag.Quality) {
		t.Helper()
		p.Address = Address("x")
		if v, q := convert(&p, in, tag.GoodQuality); v.String() != want || q != wantQ {
			t.Errorf("%v as %d is %v %#x, want %s %#x", in, p.Type.Kind, v, uint32(q), want, uint32(wantQ))
		}
	}
	x, _ := tag.Float64Value(1e300)
	f(drivers.Point{Type: types["float32"]}, x, "-", tag.BadSensor)
	f(drivers.Point{Type: types["int"]}, x, "-", tag.BadSensor)
	f(drivers.Point{Type: types[""]}, tag.IntValue(7), "7", tag.GoodQuality)
	f(drivers.Point{Type: types["bool"]}, tag.IntValue(7), "true", tag.GoodQuality)
	f(drivers.Point{Type: types[""], Ranged: true, Low: 0, High: 6}, tag.IntValue(7), "7", tag.BadRange|tag.LimitHigh)
	f(drivers.Point{Type: types[""]}, tag.Value{}, "-", tag.BadSensor)
}

func TestWriteIsAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plant, now := &Plant{}, inBubble()
		d := plant.Device("dcs")
		d.Set("fan", tag.BoolValue(false))
		d.Set("fan-run", tag.BoolValue(false))
		d.OnWrite("fan", func(v tag.Value) error {
			d.Set("fan-run", v)
			return nil
		})
		d.Set("lock", tag.BoolValue(false))
		d.OnWrite("lock", func(tag.Value) error { return errors.New("locked") })
		link := open(t, plant, now)
		p := drivers.Point{Address: Address("fan"), Type: types["bool"], Write: true}
		if err := link.Write(t.Context(), p, tag.BoolValue(true)); err != nil {
			t.Error(err)
		}
		if v, _ := d.Value("fan-run", now()); !v.True() {
			t.Error("the feedback did not follow")
		}
		p.Address = Address("lock")
		if err := link.Write(t.Context(), p, tag.BoolValue(true)); err == nil || errors.Is(err, drivers.ErrUnknown) {
			t.Errorf("a refused write: %v", err)
		}
		p.Address = Address("nowhere")
		if err := link.Write(t.Context(), p, tag.BoolValue(true)); err == nil {
			t.Error("a point that is not there was written")
		}
	})
}

func TestNamesAndTypes(t *testing.T) {
	for _, s := range []string{"", "a b", "泵", "a/b", "a\n"} {
		if _, err := (Driver{}).ParseAddress(s); err == nil {
			t.Errorf("%q names a point", s)
		}
		if _, err := (Driver{}).ParseLink(s, nil); err == nil {
			t.Errorf("%q names a device", s)
		}
	}
	if _, err := (Driver{}).ParseType(Address("x"), "uint16"); err == nil {
		t.Error("uint16 is a type")
	}
	var hint *drivers.Hint
	if _, err := (Driver{}).ParseType(Address("x"), "float16"); !errors.As(err, &hint) || hint.Code != "sim.type" {
		t.Errorf("the error is %v", err)
	}
}
