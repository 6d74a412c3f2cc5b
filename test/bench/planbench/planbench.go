// Package planbench takes the figure of the Modbus planner: the bus time of
// its plans over the least there can be, on random register maps.
//
// What a wire costs is asked of the driver with two requests of one point each,
// and reckoned from there; what a plan asks for is read from what its requests
// print. The least is found by test/floor/plansearch, which knows nothing of
// the planner. Both are sums over all maps, so that the quotient has no noise;
// of the wires the worst is taken.
//
// Imports: drivers, drivers/modbus, drivers/tag, test/bench/figure, test/floor/plansearch.
package planbench

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/test/bench/figure"
	"davy/test/floor/plansearch"
)

const (
	maps  = 200
	limit = 1.0
	seed  = 20261121
)

// Run prints the figure to w and reports whether it holds.
func Run(w io.Writer) bool {
	const name = "poll.bus_time_vs_optimum"
	all, err := measure(maps, seed)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	worst := 0.0
	for _, s := range all {
		q := float64(s.ours) / float64(s.least)
		worst = max(worst, q)
		fmt.Fprintf(w, "  %s: %d maps, %d tried in every way, %d requests, %v for at least %v: %.6f\n", s.wire, s.maps, s.small, s.requests, s.ours, s.least, q)
	}
	return figure.Print(w, name, worst, "ratio", limit)
}

// sum is what the maps came to on one wire.
type sum struct {
	wire           string
	maps, small    int // small: searched in every way
	requests       int
	ours, least    time.Duration
	fixed, perByte time.Duration // of a request, of a byte
}

// wire is a link that maps are planned for.
type wire struct {
	name   string
	driver drivers.Driver
	target string
	fields drivers.Fields
}

func wires() []wire {
	return []wire{
		{"tcp", modbus.TCP{}, "192.168.1.20:502", nil},
		{"rtu 9600", modbus.RTU{}, "/dev/ttyS1", drivers.Fields{"serial": "9600 8E1"}},
		{"rtu 115200", modbus.RTU{}, "/dev/ttyS1", drivers.Fields{"serial": "115200 8N1"}},
		{"ascii 9600", modbus.ASCII{}, "/dev/ttyS1", drivers.Fields{"serial": "9600 7E1"}},
	}
}

// measure plans n random maps for every wire.
func measure(n int, seed uint64) (out []sum, err error) {
	for _, w := range wires() {
		settings, err := w.driver.ParseLink(w.target, w.fields)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		s := sum{wire: w.name}
		if s.fixed, s.perByte, err = reckon(w.driver, settings); err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		r := rand.New(rand.NewPCG(seed, 1)) // the same maps for all
		for i := range n {
			m := random(r, i)
			if err := s.add(w.driver, settings, m); err != nil {
				return nil, fmt.Errorf("%s: map %d (%s): %w", w.name, i, m.kind, err)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// reckon finds what a request costs on a link, and what each byte does.
func reckon(d drivers.Driver, link drivers.Settings) (fixed, perByte time.Duration, err error) {
	cost := func(bytes int) time.Duration {
		p := drivers.Point{Tag: 1, Station: 1, Address: modbus.Address{Table: modbus.Holding}, Type: drivers.Type{Kind: tag.Text, Bytes: bytes}}
		requests, e := d.Plan(link, []drivers.Point{p})
		if e != nil || len(requests) != 1 {
			err = fmt.Errorf("a text of %d bytes: %d requests: %w", bytes, len(requests), e)
			return 0
		}
		return requests[0].Cost()
	}
	short, long := cost(2), cost(250)
	perByte = (long - short) / 248
	return short - 2*perByte, perByte, err
}

// add plans one map.
func (s *sum) add(d drivers.Driver, link drivers.Settings, m registers) error {
	options, err := d.ParseDevice(m.fields)
	if err != nil {
		return err
	}
	points := make([]drivers.Point, 0, len(m.readings))
	for i, r := range m.readings {
		p := drivers.Point{Tag: tag.ID(i + 1), Station: 1, Period: time.Second, Options: options}
		p.Address = modbus.Address{Table: m.table, Number: uint16(r.First)}
		if p.Type = (drivers.Type{Kind: tag.Bool, Bits: 1}); !m.table.Bits() {
			p.Type = drivers.Type{Kind: tag.Text, Bytes: (r.End - r.First) * m.rules.BytesPer}
		}
		points = append(points, p)
	}
	requests, err := d.Plan(link, points)
	if err != nil {
		return err
	}
	m.rules.Fixed, m.rules.PerByte = s.fixed, s.perByte
	least, ok := plansearch.Least(m.rules, m.readings)
	if !ok {
		return fmt.Errorf("the search finds no plan at all")
	}
	ours, err := busy(m, requests)
	if err != nil {
		return err
	}
	s.maps, s.requests, s.ours, s.least = s.maps+1, s.requests+len(requests), s.ours+ours, s.least+least
	if m.small() {
		s.small++
	}
	return nil
}

// busy returns what the requests of a plan cost by what they print, and checks
// that each reading lies whole in one and that none breaks a rule.
func busy(m registers, requests []drivers.Request) (time.Duration, error) {
	total, seen := time.Duration(0), 0
	allowed := plansearch.Allowed(m.rules, m.readings)
	for _, q := range requests {
		var station, first, last int
		var table string
		if n, _ := fmt.Sscanf(q.String(), "station %d %s %d..%d", &station, &table, &first, &last); n < 4 {
			if n, err := fmt.Sscanf(q.String(), "station %d %s %d", &station, &table, &first); n < 3 {
				return 0, fmt.Errorf("%s: %w", q, err)
			}
			last = first
		}
		cost := m.rules.Cost(last + 1 - first)
		if cost != q.Cost() || !allowed(first, last+1) {
			return 0, fmt.Errorf("%s costs %v and not %v, or may not be asked", q, cost, q.Cost())
		}
		for _, p := range q.Points() {
			r := m.readings[p.Tag-1]
			if r.First < first || r.End > last+1 {
				return 0, fmt.Errorf("%s does not hold %v", q, r)
			}
			seen++
		}
		total += cost
	}
	if seen != len(m.readings) {
		return 0, fmt.Errorf("%d of %d readings are asked for", seen, len(m.readings))
	}
	return total, nil
}
