package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// memory is what a device holds: every register something of its own.
func memory(t Table, at int) uint16 { return uint16(at*40503+int(t)*977) ^ 0x2bad }

// Of any map, up to the last address, with gaps allowed or not, companions,
// points that overlap and points that are there twice: every form of every part
// of every request gives each point what its own registers hold by definition.
func TestEveryFormGivesEveryPointItsOwn(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	types := []string{"uint16", "int16", "uint32 CDAB", "int32", "int64 BADC", "uint16 DCBA", "int64 DCBA"}
	for round := range 400 {
		fields := drivers.Fields{}
		if r.IntN(2) == 0 {
			fields["gaps"] = []string{"no", "3", "yes"}[r.IntN(3)]
		}
		if r.IntN(3) == 0 {
			fields["max_block"] = fmt.Sprint(8 + r.IntN(60))
		}
		base := []int{0, 1000, 65536 - 300}[r.IntN(3)]
		if r.IntN(3) == 0 {
			at := base + r.IntN(300)
			fields["identity"] = fmt.Sprintf("holding wire %d = %d", at, memory(Holding, at))
		}
		o, err := RTU{}.ParseDevice(fields)
		if err != nil {
			t.Fatal(err)
		}
		var points []drivers.Point
		want := map[tag.ID]tag.Reading{}
		for id := tag.ID(1); id <= 60; id++ {
			typ := types[r.IntN(len(types))]
			name, order, _ := strings.Cut(typ, " ")
			table := []Table{Holding, Input}[r.IntN(2)]
			a := Address{Table: table, Number: uint16(base + r.IntN(300))}
			pt, err := parseType(a, typ)
			if err != nil {
				continue // past the end
			}
			p := drivers.Point{Tag: id, Name: tag.Name(fmt.Sprint(id)), Station: 1, Address: a, Type: pt, Options: o, Period: time.Duration(1+r.IntN(2)) * time.Second}
			var wire []byte
			for k := range pt.Bits / 16 {
				wire = binary.BigEndian.AppendUint16(wire, memory(table, int(a.Number)+k))
			}
			v, ok := meant(name, order, wire)
			q := tag.GoodQuality
			if !ok {
				v, q = tag.Value{}, tag.BadRange
			}
			if at := int(a.Number) + r.IntN(9) - 4; r.IntN(4) == 0 && at >= 0 && at < 65536 {
				p.State = &drivers.State{
					Address: Address{Table: table, Number: uint16(at)}, Type: types16,
					Means: []drivers.Meaning{{Mask: 0xffff, Value: uint64(memory(table, at)), Quality: q}}, Otherwise: tag.BadConfig,
				}
			}
			points = append(points, p)
			want[id] = tag.Reading{Value: v, Quality: q}
		}
		s, err := RTU{}.ParseLink("/dev/line", drivers.Fields{"serial": "9600 8E1"})
		if err != nil {
			t.Fatal(err)
		}
		for {
			_, err = RTU{}.Plan(s, points)
			var h *drivers.Hint
			if err == nil || !errors.As(err, &h) || h.Code != "modbus.companion-far" {
				break
			}
			for i := range points { // that one may have none
				if string(points[i].Name) == h.Args["tag"] {
					points[i].State = nil
				}
			}
		}
		reqs, err := RTU{}.Plan(s, points)
		if err != nil {
			t.Fatal(round, fields, err)
		}
		seen := map[tag.ID]int{}
		for _, q := range reqs {
			q := q.(*request)
			for i := range q.points {
				seen[q.points[i].Tag]++
			}
			for from := range q.points {
				for _, to := range []int{from + 1, (from + 1 + len(q.points)) / 2, len(q.points)} {
					if to <= from {
						continue
					}
					p := q.part(from, to)
					for _, f := range append(p.longer, p.form) {
						f := f
						if f.count > q.unit.limit(q.table) || f.count < 1 || int(f.first)+f.count > 65536 {
							t.Fatalf("round %d: %v asks for %d at %d", round, fields, f.count, f.first)
						}
						var data []byte
						for at := range f.count {
							data = binary.BigEndian.AppendUint16(data, memory(q.table, int(f.first)+at))
						}
						out := make([]tag.Reading, len(q.points))
						if err := q.decode(&p, &f, data, out); err != nil {
							t.Fatal(round, fields, err)
						}
						for i := from; i < to; i++ {
							if w := want[q.points[i].Tag]; out[i].Quality != w.Quality || w.Quality.Good() && out[i].Value != w.Value {
								t.Fatalf("round %d %v: %v is %v %v, want %v %v", round, fields, q.points[i].Address, out[i].Value, out[i].Quality, w.Value, w.Quality)
							}
						}
					}
				}
			}
		}
		for i := range points {
			if seen[points[i].Tag] != 1 {
				t.Fatalf("%v lies in %d requests", points[i].Address, seen[points[i].Tag])
			}
		}
	}
}

var types16 = drivers.Type{Kind: tag.Int, Bits: 16}
