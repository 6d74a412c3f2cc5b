package modbus

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// part is a stretch of a table with the points that lie in it: one request on the wire.
type part struct {
	from, to int // points[from:to] of the request
	first    uint16
	count    int
	adu      []byte
}

// request is one planned block. It never changes; what a link learns about
// it stays with the link.
type request struct {
	station byte
	table   Table
	points  []drivers.Point // sorted by address
	whole   part
	cost    time.Duration
}

func (r *request) Points() []drivers.Point { return r.points }
func (r *request) Cost() time.Duration     { return r.cost }
func (r *request) String() string          { return r.describe(&r.whole) }

func (r *request) describe(p *part) string {
	return fmt.Sprintf("station %d %s", r.station, span(r.table, p.first, p.count))
}

// part compiles the request for points[from:to].
func (r *request) part(from, to int) part {
	first, end := 65536, 0
	for i := from; i < to; i++ {
		p := &r.points[i]
		a := p.Address.(Address)
		first = min(first, int(a.Number))
		end = max(end, int(a.Number)+size(r.table, p.Type))
	}
	return part{from: from, to: to, first: uint16(first), count: end - first, adu: readFrame(r.station, r.table, uint16(first), end-first)}
}

// plan packs points into blocks: one station, table and period each, sorted by
// address, over gaps of at most MaxGapRegisters or MaxGapBits. A point lies
// whole in one block.
func plan(points []drivers.Point) ([]drivers.Request, error) {
	var errs []error
	sorted := slices.Clone(points)
	for i := range sorted {
		if err := checkPoint(&sorted[i]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	slices.SortStableFunc(sorted, func(p, q drivers.Point) int {
		a, b := p.Address.(Address), q.Address.(Address)
		return cmp.Or(cmp.Compare(p.Station, q.Station), cmp.Compare(a.Table, b.Table), cmp.Compare(p.Period, q.Period),
			cmp.Compare(a.Number, b.Number), cmp.Compare(a.Bit, b.Bit))
	})
	var out []drivers.Request
	for len(sorted) > 0 {
		n := block(sorted)
		a := sorted[0].Address.(Address)
		r := &request{station: byte(sorted[0].Station), table: a.Table, points: sorted[:n:n]}
		r.whole = r.part(0, n)
		r.cost = cost(r.table, r.whole.count)
		out = append(out, r)
		sorted = sorted[n:]
	}
	return out, nil
}

// block returns how many of the sorted points go into one request.
func block(sorted []drivers.Point) int {
	p := &sorted[0]
	a := p.Address.(Address)
	limit, gap := MaxRegisters, MaxGapRegisters
	if a.Table.Bits() {
		limit, gap = MaxBits, MaxGapBits
	}
	first := int(a.Number)
	end := first + size(a.Table, p.Type)
	for n := 1; n < len(sorted); n++ {
		q := &sorted[n]
		b := q.Address.(Address)
		last := max(end, int(b.Number)+size(b.Table, q.Type))
		if q.Station != p.Station || b.Table != a.Table || q.Period != p.Period || int(b.Number) > end+gap || last-first > limit {
			return n
		}
		end = last
	}
	return len(sorted)
}

// checkPoint finds what ParseAddress and ParseType cannot see.
func checkPoint(p *drivers.Point) error {
	a, ok := p.Address.(Address)
	if !ok {
		panic(fmt.Sprintf("BUG: modbus: %s has the address of another driver", p.Name))
	}
	if p.Type.Bits == 0 {
		panic(fmt.Sprintf("BUG: modbus: %s has no type", p.Name))
	}
	args := map[string]any{"tag": string(p.Name), "at": a.String(), "station": p.Station}
	switch {
	case p.Station < 0 || p.Station > 255:
		return wrong("modbus.station", "", args)
	case p.Write && !a.Table.Writable():
		return wrong("modbus.write-table", "", args)
	case p.Write && a.HasBit:
		return wrong("modbus.write-bit", "", args)
	case p.Scaled() && p.Type.Kind == tag.Bool:
		return wrong("modbus.scale-of-bit", "", args)
	}
	return nil
}

// The wire that Cost reckons with: Ethernet of 10 Mbit/s, the slowest in the
// field. Each frame carries preamble, header, check sequence and gap (38
// bytes), IP (20) and TCP with timestamps (32), and is never shorter than 84.
// A transaction is a request, an answer and one bare acknowledgement.
const (
	bitTime  = 100 * time.Nanosecond
	overhead = 38 + 20 + 32
	shortest = 84
)

func cost(t Table, count int) time.Duration {
	data := 2 * count
	if t.Bits() {
		data = (count + 7) / 8
	}
	bytes := max(shortest, overhead+12) + max(shortest, overhead+header+2+data) + max(shortest, overhead)
	return time.Duration(bytes*8) * bitTime
}
