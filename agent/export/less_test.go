package export

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"davy/agent/merkle"
	"davy/agent/wire"
)

// three is a journal of three epochs, each of which ends with an event.
func three(t testing.TB) *made {
	m := &made{gateway: "GW", wall: 1_700_000_000 * second}
	for range 3 {
		m.begin(t)
		for range 5 {
			m.readings(t, 3)
			m.events(t, wire.Event{Kind: 1, Note: "alarm"})
		}
		m.sign(t, true)
	}
	return m
}

// claim changes what the file says was asked for.
func (f *forge) claim(with func(*Claim)) {
	p := &f.parts[f.nth(claimFrame, 0)]
	var c Claim
	if err := json.Unmarshal(p.payload, &c); err != nil {
		f.t.Fatal(err)
	}
	with(&c)
	var err error
	if p.payload, err = json.Marshal(c); err != nil {
		f.t.Fatal(err)
	}
}

// without takes an epoch's section out.
func (f *forge) without(epoch int) {
	from := f.nth(epochFrame, epoch)
	to := from + 1
	for f.parts[to].kind != epochFrame && f.parts[to].kind != endFrame {
		to++
	}
	f.parts = slices.Delete(f.parts, from, to)
	f.end(func(end *End) { end.Epochs = slices.Delete(end.Epochs, epoch, epoch+1) })
}

// blankFrom puts hashes in the place of the blocks of a stream from a leaf on.
func (f *forge) blankFrom(epoch int, stream string, leaf uint64) {
	e := f.m.epochs[epoch]
	last := uint64(0)
	f.each(epoch, func(p *part) {
		if p.kind != blockFrame {
			return
		}
		k, _, err := decodeBlock(p.payload)
		switch {
		case err != nil || k.Stream != stream:
		case k.Leaf >= leaf:
			*p = part{subtreeFrame, (&subtree{0, int64(k.Leaf), e.stored[merkle.Stored(int64(k.Leaf))]}).append(nil)}
		default:
			last = k.Last()
		}
	})
	f.end(func(end *End) {
		for i := range end.Epochs[epoch].Streams {
			if r := &end.Epochs[epoch].Streams[i]; r.Stream == stream {
				r.To = last
			}
		}
	})
}

// What a file does not hold cannot be hidden behind what it says was asked for.
func TestLessThanItClaims(t *testing.T) {
	trust := Trust{Authority: pub(seeded(authorityKey))}
	for _, c := range []struct {
		name  string
		forge func(*forge)
		whole bool
		code  string
	}{
		{"nothing", func(*forge) {}, true, ""},
		{"all readings of the last epoch", func(f *forge) { f.blank(2, wire.ReadingStream) }, false, Unexplained},
		{"all readings of the last epoch, in a window", func(f *forge) {
			f.blank(2, wire.ReadingStream)
			f.claim(func(c *Claim) { c.From = 1_700_000_000*second + 60*second })
		}, false, ""},
		{"the first epoch, of all", func(f *forge) { f.without(0) }, false, EpochMissing},
		{"the first epoch, in which the time asked for begins", func(f *forge) {
			f.without(0)
			f.claim(func(c *Claim) { c.From = f.m.epochs[0].began() + 5*second })
		}, false, ""},
		{"the last events, behind a list of all streams", func(f *forge) {
			f.blankFrom(2, wire.EventStream, 4)
			f.claim(func(c *Claim) { c.Streams = []string{"event", "reading", "health"} })
		}, false, WindowEnd},
		{"the last events, behind a list of events", func(f *forge) {
			f.blankFrom(2, wire.EventStream, 4)
			f.claim(func(c *Claim) { c.Streams = []string{"event"} })
		}, true, WindowEnd},
		{"what came after the last witness, with the gateway's own checkpoint left out", func(f *forge) {
			f.drop(f.nth(noteFrame, 2))
			e := f.m.epochs[2]
			e.notes = map[uint64][]byte{}
			at := f.block(2, uint64(len(e.blocks)-3)) + 1
			f.parts = slices.Insert(f.parts, at, part{noteFrame, cosign(f.t, noteOf(f.t, f.m.gateway, e, len(e.blocks)-2, seeded(deviceKey), f.m.wall), seeded(receiverKey), f.m.wall)})
			f.change(2, uint64(len(e.blocks)-2), true, func(k *wire.Block) { another(k) })
			f.rechain(2)
		}, false, Unsigned},
		{"a stream that never was, in an epoch without its checkpoint", func(f *forge) {
			m := f.m
			e := m.epochs[1]
			f.drop(f.nth(noteFrame, 1))
			k := wire.Block{Stream: "other", First: 1, Count: 1, Body: e.blocks[1].Body, Leaf: uint64(len(e.blocks))}
			ev, err := wire.DecodeEvents(e.blocks[3].Body)
			if err != nil {
				t.Fatal(err)
			}
			k.Count = uint32(len(ev))
			k.Body = e.blocks[3].Body
			at := f.block(1, uint64(len(e.blocks)-1)) + 1
			f.parts = slices.Insert(f.parts, at, part{blockFrame, appendBlock(nil, &k, leafOf(&k, sha256Sum(k.Body)))})
			f.end(func(end *End) {
				end.Epochs[1].Streams = append(end.Epochs[1].Streams, Range{"other", 1, uint64(k.Count)})
			})
		}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := three(t)
			f := &forge{t, m, split(t, m.write(t, certificate(seeded(authorityKey))))}
			c.forge(f)
			r, err := Verify(bytes.NewReader(glue(t, f.parts)), trust)
			if err != nil {
				t.Fatal(err)
			}
			if r.Whole != c.whole || c.code != "" && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == c.code }) {
				t.Errorf("whole %v: %+v", r.Whole, r.Findings)
			}
		})
	}
}

func (e *madeEpoch) began() int64 {
	events, _ := wire.DecodeEvents(e.blocks[0].Body)
	return events[0].At.Wall
}

// However much is only told, what is wrong is named, and counted.
func TestWrongIsNamedAmongMuchThatIsTold(t *testing.T) {
	r := &Report{Whole: true}
	for i := range 2 * maxFindings {
		r.find(Finding{Code: Gap, Told: true, From: uint64(i)})
	}
	r.find(Finding{Code: Missing, From: 7})
	if r.Whole || r.Wrong != 1 || r.More != maxFindings+1 || len(r.Findings) != maxFindings || !slices.Contains(r.Findings, Finding{Code: Missing, From: 7}) {
		t.Errorf("whole %v, %d wrong, %d more of %d", r.Whole, r.Wrong, r.More, len(r.Findings))
	}
}
