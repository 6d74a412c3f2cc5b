package bench

import (
	"context"
	"fmt"
	"time"

	"davy/cmd/davy-plant/script"
	"davy/drivers/tag"
)

// Status codes of OPC UA that a node has for a reason of the plant's.
const noCommunication = 0x80310000 // BadNoCommunication

// OPCUA is what a bench needs of its OPC UA server: *opcua.Server.
type OPCUA interface {
	Silent(on bool)   // subscriptions say nothing, not even that they live
	Hang(on bool)     // nothing at all comes back on the connections
	Overflow(on bool) // every queue of every item overflows
	Blip()            // every connection is reset
	Refuse()
	Accept(ctx context.Context) error
	Restart(ctx context.Context) error
}

// WireOPCUA gives the bench its OPC UA server, before Run.
func (b *Bench) WireOPCUA(s OPCUA) { b.ua = s }

// Node is one value that the plant serves over OPC UA.
type Node struct {
	Name string // its identifier: "comp1.discharge-pressure"
	Bool bool   // else a number of 32 bits
	Unit string
}

// Sample is what a node is now.
type Sample struct {
	Number float32
	On     bool
	Status uint32 // of OPC UA; 0 is good
	At     time.Time
}

// opcTrouble is what is wrong with the OPC UA side.
type opcTrouble struct {
	frozen   map[string]Sample // nil: it is not
	status   map[string]uint32
	acceptAt int64
}

// Nodes are the compressor's values.
func (*Bench) Nodes() []Node {
	return []Node{
		{Name: "comp1.suction-pressure", Unit: "MPa"},
		{Name: "comp1.discharge-pressure", Unit: "MPa"},
		{Name: "comp1.discharge-temp", Unit: "°C"},
		{Name: "comp1.oil-pressure", Unit: "MPa"},
		{Name: "comp1.load", Unit: "%"},
		{Name: "comp1.run", Bool: true},
		{Name: "comp1.trip", Bool: true},
	}
}

// Sample returns what a node is now. A node that is not there is a bug.
func (b *Bench) Sample(name string) Sample {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, frozen := b.opc.frozen[name]
	if !frozen {
		s = b.sample(name)
	}
	if status := b.opc.status[name]; status != 0 {
		s.Status = status
	}
	return s
}

// sample takes a node's value from its register. mu is held.
func (b *Bench) sample(name string) Sample {
	s := Sample{At: time.Unix(0, b.now().Wall)}
	var u *unit
	for i := range b.quants {
		if q := &b.quants[i]; q.name == name {
			u, s.Number = q.u, float32(q.shown)
		}
	}
	for _, x := range b.bits {
		if x.name == name {
			u, s.On = x.u, x.u.discrete.bits[x.addr]
		}
	}
	if u == nil {
		panic("BUG: bench: no node " + name)
	}
	if u.off || u.dead || u.mute {
		s.Status = noCommunication
	}
	return s
}

// opcuaFault switches a trouble of the OPC UA side. mu is held.
func (b *Bench) opcuaFault(c script.Command, at tag.Stamp) {
	wire := func(f func(s OPCUA)) {
		b.later(func(context.Context) error {
			if b.ua != nil {
				f(b.ua)
			}
			return nil
		})
	}
	switch c.Form {
	case "opcua status NODE STATUS":
		if b.opc.status == nil {
			b.opc.status = map[string]uint32{}
		}
		b.opc.status[c.Node] = c.Status
		b.set("opcua status "+c.Node, c.Status != 0, fmt.Sprintf("0x%08X", c.Status), at)
	case "opcua freeze":
		b.opc.frozen = map[string]Sample{}
		for _, n := range b.Nodes() {
			b.opc.frozen[n.Name] = b.sample(n.Name)
		}
		b.set("opcua freeze", true, "", at)
	case "opcua freeze off":
		b.opc.frozen = nil
		b.set("opcua freeze", false, "", at)
	case "opcua silent", "opcua silent off":
		on := b.set("opcua silent", c.Form == "opcua silent", "", at)
		wire(func(s OPCUA) { s.Silent(on) })
	case "opcua hang", "opcua hang off":
		on := b.set("opcua hang", c.Form == "opcua hang", "", at)
		wire(func(s OPCUA) { s.Hang(on) })
	case "opcua overflow", "opcua overflow off":
		on := b.set("opcua overflow", c.Form == "opcua overflow", "", at)
		wire(func(s OPCUA) { s.Overflow(on) })
	case "opcua blip":
		wire(OPCUA.Blip)
	case "opcua refuse", "opcua refuse DURATION":
		b.opc.acceptAt = 0
		if c.Duration > 0 {
			b.opc.acceptAt = at.Mono + int64(c.Duration)
		}
		b.set("opcua refuse", true, "", at)
		wire(OPCUA.Refuse)
	case "opcua accept":
		b.acceptOPCUA(at)
	case "opcua restart":
		b.later(func(ctx context.Context) error {
			if b.ua == nil {
				return nil
			}
			return b.ua.Restart(ctx)
		})
	default:
		panic("BUG: bench: no meaning for " + c.Form)
	}
}

// acceptOPCUA ends a refusal. mu is held.
func (b *Bench) acceptOPCUA(at tag.Stamp) {
	b.opc.acceptAt = 0
	b.set("opcua refuse", false, "", at)
	b.later(func(ctx context.Context) error {
		if b.ua == nil {
			return nil
		}
		return b.ua.Accept(ctx)
	})
}

// clearOPCUA ends every trouble of the OPC UA side. mu is held.
func (b *Bench) clearOPCUA(at tag.Stamp) {
	b.opc.frozen, b.opc.status = nil, nil
	for _, name := range []string{"silent", "hang", "overflow"} {
		if b.faults["opcua "+name] {
			b.opcuaFault(script.Command{Form: "opcua " + name + " off"}, at)
		}
	}
	if b.faults["opcua refuse"] {
		b.acceptOPCUA(at)
	}
}
