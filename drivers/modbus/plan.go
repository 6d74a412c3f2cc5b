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

// wireCost is what a link's wire takes for one read: what a plan is reckoned by.
type wireCost struct {
	fixed   time.Duration // of a request and an answer without data, and all that goes with them
	perByte time.Duration // of each byte of data in the answer
	serial  bool          // answers bear no mark of their request: its length should differ from the last one's
}

// ethernet is the wire of Modbus TCP: 10 Mbit/s, the slowest in the field.
// Each frame carries preamble, header, check sequence and gap (38 bytes), IP
// (20) and TCP with timestamps (32). A transaction is a request, an answer and
// one bare acknowledgement.
func ethernet() wireCost {
	const (
		byteTime = 800 * time.Nanosecond
		overhead = 38 + 20 + 32
		request  = header + 5
		answer   = header + 2
	)
	return wireCost{fixed: (3*overhead + request + answer) * byteTime, perByte: byteTime}
}

// of returns the cost of a read of count registers or bits.
func (w wireCost) of(u *unitOptions, t Table, count int) time.Duration {
	data := count * u.registerBytes()
	if t.Bits() {
		data = (count + 7) / 8
	}
	return w.fixed + time.Duration(data)*w.perByte
}

// form is one way to ask for a stretch of a table.
type form struct {
	first uint16
	count int
	adu   []byte
	size  int // of the PDU of the right answer
}

// part is a stretch of a table with the points that lie in it: one request on the wire.
type part struct {
	from, to int    // points[from:to] of the request
	form            // as short as can be
	longer   []form // the same and a little more, to differ in length; the first are those that cost no unused register
}

// request is one planned block. It never changes; what a link learns about
// it stays with the link.
type request struct {
	station byte
	table   Table
	unit    *unitOptions // nil: nothing was written of the device
	points  []drivers.Point
	cells   []cell // of each point
	quick   []quick
	land    *land
	serial  bool
	whole   part
	cost    time.Duration
}

func (r *request) Points() []drivers.Point { return r.points }
func (r *request) Cost() time.Duration     { return r.cost }
func (r *request) String() string          { return r.describe(&r.whole) }

func (r *request) describe(p *part) string {
	return fmt.Sprintf("station %d %s", r.station, span(r.table, p.first, p.count))
}

// extent returns the stretch that points[from:to] lie in.
func (r *request) extent(from, to int) (first, end int) {
	first = 65536
	for i := from; i < to; i++ {
		first = min(first, r.cells[i].first)
		end = max(end, r.cells[i].end)
	}
	return first, end
}

// part compiles the request for points[from:to]. The identity register rides
// along with the whole block where it can; of parts, which are there because
// something in the block was refused, only with those that it touches.
func (r *request) part(from, to int) part {
	first, end := r.extent(from, to)
	reach := 1
	if from == 0 && to == len(r.points) {
		reach = MaxBits
	}
	first, end = r.land.join(first, end, reach)
	p := part{from: from, to: to, form: r.form(first, end)}
	if !r.serial {
		return p
	}
	more := 1
	if r.table.Bits() {
		more = 1 + (8-p.count%8)%8 // one bit into the next byte
	}
	up, down := r.land.extend(first, end, end, end+more), r.land.extend(first, end, first-more, first)
	if up > 0 {
		p.longer = append(p.longer, r.form(first, end+more))
	}
	if down > 0 {
		p.longer = append(p.longer, r.form(first-more, end))
	}
	if down > up && up > 0 {
		slices.Reverse(p.longer)
	}
	return p
}

func (r *request) form(first, end int) form {
	adu := readFrame(r.station, r.table, uint16(first), end-first)
	return form{first: uint16(first), count: end - first, adu: adu, size: r.unit.answerSize(adu)}
}

// plan packs points into requests for Modbus TCP.
func plan(points []drivers.Point) ([]drivers.Request, error) { return planOn(ethernet(), points) }

// planOn packs points into requests of one station, table and period each,
// such that the wire is busy for as short as can be. All registers of a
// reading lie in one request.
func planOn(w wireCost, points []drivers.Point) ([]drivers.Request, error) {
	var errs []error
	for i := range points {
		if err := checkPoint(&points[i]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	groups := group(points)
	var out []drivers.Request
	for len(groups) > 0 {
		n := 1
		for n < len(groups) && groups[n].device(&groups[0]) {
			n++
		}
		device := groups[:n]
		groups = groups[n:]
		l := survey(device)
		for i := range device {
			if err := l.holds(&device[i]); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) > 0 {
			continue
		}
		for len(device) > 0 {
			n := 1
			for n < len(device) && device[n].Period == device[0].Period {
				n++
			}
			for _, end := range l.blocks(w, device[:n]) {
				out = append(out, newRequest(w, l, device[:end:end]))
				device = device[end:]
			}
		}
	}
	return out, errors.Join(errs...)
}

// placed is a point and where it lies.
type placed struct {
	drivers.Point
	cell
	unit   *unitOptions
	kind   int // number of its options among the different ones
	island int
}

// device reports whether p and q may share requests, but for their periods.
func (p *placed) device(q *placed) bool {
	return p.Station == q.Station && p.kind == q.kind && p.table == q.table
}

// group sorts points by station, options, table, period and place.
func group(points []drivers.Point) []placed {
	var kinds []unitOptions
	out := make([]placed, len(points))
	for i := range points {
		p := &out[i]
		p.Point = points[i]
		p.unit = optionsOf(&p.Point)
		if p.unit != nil {
			if p.kind = 1 + slices.Index(kinds, *p.unit); p.kind == 0 {
				kinds = append(kinds, *p.unit)
				p.kind = len(kinds)
			}
		}
		p.cell = newCell(p.unit, &p.Point)
	}
	slices.SortStableFunc(out, func(p, q placed) int {
		a, b := p.Address.(Address), q.Address.(Address)
		return cmp.Or(cmp.Compare(p.Station, q.Station), cmp.Compare(p.kind, q.kind), cmp.Compare(p.table, q.table), cmp.Compare(p.Period, q.Period),
			cmp.Compare(p.first, q.first), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Bit, b.Bit))
	})
	return out
}

func newRequest(w wireCost, l *land, points []placed) *request {
	p := &points[0]
	r := &request{
		station: byte(p.Station), table: p.table, unit: p.unit, land: l, serial: w.serial,
		points: make([]drivers.Point, 0, len(points)), cells: make([]cell, 0, len(points)), quick: make([]quick, 0, len(points)),
	}
	for i := range points {
		r.points = append(r.points, points[i].Point)
		r.cells = append(r.cells, points[i].cell)
		r.quick = append(r.quick, newQuick(&points[i].cell, &points[i].Point))
	}
	r.whole = r.part(0, len(r.points))
	r.cost = w.of(r.unit, r.table, r.whole.count)
	return r
}

// blocks returns where the best blocks of points, which are sorted and of one
// period, end: each from the end of the one before it, counted from there.
//
// In a best plan no block lies within another, for then it could join it for
// nothing; and a point that lies in two blocks' stretches may go to either. So
// some best plan cuts the points as they are sorted, never between two that begin
// together, and it is enough to know for each cut the best way to have come there.
func (l *land) blocks(w wireCost, points []placed) []int {
	type way struct {
		cost     time.Duration
		requests int
		from     int
	}
	best := make([]way, len(points)+1)
	together := func(i int) bool { return i > 0 && i < len(points) && points[i].first == points[i-1].first }
	for j := 1; j <= len(points); j++ {
		if together(j) {
			continue
		}
		best[j].requests = -1
		end := 0
		for i := j - 1; i >= 0; i-- {
			end = max(end, points[i].end)
			if together(i) {
				continue
			}
			first := points[i].first
			if !l.fits(&points[i], &points[j-1], end) {
				break // and longer stretches fit no better
			}
			from, to := l.join(first, end, MaxBits)
			c, n := best[i].cost+w.of(points[i].unit, l.table, to-from), best[i].requests+1
			if best[j].requests < 0 || c < best[j].cost || c == best[j].cost && n < best[j].requests {
				best[j] = way{c, n, i}
			}
		}
	}
	var out []int
	for j := len(points); j > 0; j = best[j].from {
		out = append(out, j-best[j].from)
	}
	slices.Reverse(out)
	return out
}

// checkPoint finds what ParseAddress and ParseType cannot see.
func checkPoint(p *drivers.Point) error {
	a, ok := p.Address.(Address)
	if !ok {
		panic(fmt.Sprintf("BUG: modbus: %s has the address of another driver", p.Name))
	}
	if p.Type.Bits == 0 && p.Type.Bytes == 0 {
		panic(fmt.Sprintf("BUG: modbus: %s has no type", p.Name))
	}
	u := optionsOf(p)
	args := map[string]any{"tag": string(p.Name), "at": a.String(), "station": p.Station}
	for _, other := range companions(p) {
		if other.Table != a.Table {
			args["other"] = other.String()
			return wrong("modbus.companion-table", "modbus.companion-table", args)
		}
	}
	switch {
	case p.Station < 0 || p.Station > 255:
		return wrong("modbus.station", "", args)
	case p.Scaled() && (p.Type.Kind == tag.Bool || p.Type.Kind == tag.Text || p.Type.Kind == tag.Enum || p.Codes != nil),
		p.Decimals != nil && p.Type.Kind != tag.Int && p.Type.Kind != tag.Float32 && p.Type.Kind != tag.Float64:
		return wrong("modbus.scale-of-bit", "", args)
	case u != nil && u.wide && p.Type.Bits == 16 && !a.Table.Bits() && p.Type.Kind != tag.Bool:
		return wrong("modbus.narrow", "modbus.narrow", args)
	}
	if p.Write {
		return checkWrite(p, a, u, args)
	}
	return nil
}

// companions are the other registers that p's reading takes.
func companions(p *drivers.Point) (out []Address) {
	var all []drivers.Address
	if p.Decimals != nil {
		all = append(all, p.Decimals)
	}
	if p.State != nil {
		all = append(all, p.State.Address)
	}
	for _, other := range all {
		a, ok := other.(Address)
		if !ok {
			panic(fmt.Sprintf("BUG: modbus: %s has the address of another driver", p.Name))
		}
		out = append(out, a)
	}
	return out
}
