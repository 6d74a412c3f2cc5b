package modbus

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers"
	"davy/drivers/drivertest"
	"davy/drivers/tag"
)

// odd are the faults after which every point must come good all the same.
var odd = []string{"plain", "double", "noise before", "noise after", "bytewise", "split 4+1", "foreign before"}

// busRig is the contract's rig on a bus.
func busRig(t *testing.T, b *bus, timeout time.Duration, fields drivers.Fields) *drivertest.Rig {
	driver := b.driver()
	settings, err := driver.ParseLink(b.target(), b.fields(fields))
	if err != nil {
		t.Fatal(err)
	}
	var points []drivers.Point
	for _, c := range []struct {
		station int
		at      string
	}{
		{1, "holding 10"},
		{1, "holding 14"},
		{1, "holding 300"},
		{1, "holding 304"},
		{1, "holding 600"},
		{1, "holding 604"},
		{2, "input 30"},
		{2, "holding 300"},
		{2, "holding 302"},
		{2, "holding 310"},
	} {
		p := point(t, c.at, "uint32")
		p.Tag, p.Name, p.Station, p.Period = tag.ID(len(points)+1), tag.Name("d."+c.at), c.station, time.Second
		points = append(points, p)
	}
	start := time.Now()
	station := func(i int) (byte, uint16) {
		return byte(points[i].Station), points[i].Address.(Address).Number
	}
	r := &drivertest.Rig{
		Driver: driver,
		Config: drivers.LinkConfig{
			Name: "line", Settings: settings, Timeout: timeout,
			Now: func() tag.Stamp { return tag.Stamp{Mono: int64(time.Since(start)) + 1} },
		},
		Points: points,
		Change: func(i int) { b.change(station(i)) },
		Heal:   b.heal,
		Held: func(i int, v tag.Value, from, to tag.Stamp) bool {
			s, a := station(i)
			return b.held(s, a, uint32(v.Int()), start.Add(time.Duration(from.Mono-1)), start.Add(time.Duration(to.Mono-1)))
		},
		Lack: []func(int){func(i int) { s, a := station(i); b.do(func() { b.lacks[key(s, a)] = true }) }},
		Silence: func(done bool) {
			b.heal()
			b.do(func() { b.mute, b.quiet = done, !done })
		},
		Write: drivers.Point{
			Tag: 99, Name: "d.coil", Station: 1, Address: Address{Table: Coil, Number: 7},
			Type: drivers.Type{Kind: tag.Bool, Bits: 1}, Write: true,
		},
		Written: func() tag.Value { b.mu.Lock(); defer b.mu.Unlock(); return tag.BoolValue(b.coils[7]) },
		Recover: 10 * time.Minute,
		Settle:  5 * time.Second,
	}
	faults := spoils(timeout, LateLeast)
	names := slices.Sorted(maps.Keys(faults))
	kinds := map[string]drivertest.Kind{
		"silent": drivertest.Silent, "garbled": drivertest.Garbled, "short": drivertest.Short, "long": drivertest.Long,
		"wrong station": drivertest.WrongStation, "wrong function": drivertest.WrongFunction, "late before": drivertest.LateBefore,
		"late during": drivertest.LateDuring, "double": drivertest.Duplicate, "bytewise": drivertest.Bytewise,
	}
	for _, name := range names {
		spoil := faults[name]
		f := drivertest.Fault{
			Name: name, Kind: kinds[name], Good: slices.Contains(odd, name),
			Begin: func() {
				b.do(func() { b.spoil = func(s byte, q, a []byte) []burst { return spoil(b, s, q, a) } })
			},
		}
		if strings.HasPrefix(name, "refusal") {
			f.Kind = drivertest.Refused
		}
		if f.Kind == drivertest.LateBefore {
			f.Pause = timeout + LateLeast
		}
		r.Faults = append(r.Faults, f)
	}
	r.Faults = append(r.Faults,
		drivertest.Fault{Name: "unplugged", Begin: func() { b.unplug(true) }},
		drivertest.Fault{Name: "reset", Kind: drivertest.Reset, Begin: func() {
			b.do(func() {
				b.spoil = func(byte, []byte, []byte) []burst {
					time.AfterFunc(time.Millisecond, func() { b.unplug(false) })
					return nil
				}
			})
		}},
		drivertest.Fault{Name: "reset, answer kept", Begin: func() {
			b.do(func() {
				b.spoil = func(_ byte, _, answer []byte) []burst {
					time.AfterFunc(time.Millisecond, func() { b.unplug(false) })
					return []burst{{50 * time.Millisecond, b.frame(answer...)}}
				}
			})
		}},
		drivertest.Fault{Name: "cut while idle", Kind: drivertest.Reconnected, Begin: func() { b.unplug(false) }, Good: true},
		drivertest.Fault{Name: "mute", Kind: drivertest.Speechless, Begin: func() { b.do(func() { b.mute = true }) }},
		drivertest.Fault{
			Name: "one dead", Begin: func() { b.do(func() { b.dead[2] = true }) },
			Spares: func(i int) bool { return points[i].Station != 2 },
		},
	)
	if b.keeps {
		r.Faults = append(r.Faults, drivertest.Fault{Name: "half-open", Kind: drivertest.HalfOpen, Begin: func() { b.do(b.freeze) }, Good: true})
	} else {
		r.Cannot = map[drivertest.Kind]string{drivertest.HalfOpen: "a device file has no far end that could be gone"}
	}
	r.Chaos = func(seed uint64) {
		dice := rand.New(rand.NewPCG(seed, 1))
		b.do(func() {
			b.spoil = func(s byte, q, a []byte) []burst {
				if dice.Float64() > 0.4 {
					return faults["plain"](b, s, q, a)
				}
				return faults[names[dice.IntN(len(names))]](b, s, q, a)
			}
		})
	}
	return r
}

func TestLinesKeepTheContract(t *testing.T) {
	for name, fields := range map[string]drivers.Fields{
		"refuse": {}, "allow": {"other_master": "allow"}, "echo": {"echo": "yes"}, "echo not declared": {},
	} {
		for _, isASCII := range []bool{false, true} {
			for _, keeps := range []bool{false, true} {
				t.Run(name+map[bool]string{false: " rtu", true: " ascii"}[isASCII]+map[bool]string{false: "", true: " bridge"}[keeps], func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := newBus(isASCII)
						b.keeps = keeps
						b.echo = name == "echo" || name == "echo not declared"
						drivertest.Run(t, busRig(t, b, wait, fields))
					})
				})
			}
		}
	}
}
