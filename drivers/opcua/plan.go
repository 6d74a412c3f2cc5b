package opcua

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"davy/drivers"
	"davy/drivers/tag"
)

// request is items that are read together. It never changes; what a link
// learns about it stays with the link.
type request struct {
	points []drivers.Point
	cost   time.Duration
}

func (r *request) Points() []drivers.Point { return r.points }
func (r *request) Cost() time.Duration     { return r.cost }
func (r *request) String() string {
	first := r.points[0].Address.String()
	if n := len(r.points); n > 1 {
		return strconv.Itoa(n) + " nodes from " + first
	}
	return first
}

// Plan groups the points of one period, in the order given, at most MaxItems
// to a request; the child cuts a request further where its server takes less.
// It finds what ParseAddress and ParseType cannot see, of subscribed points too.
func (Driver) Plan(link drivers.Settings, points []drivers.Point) ([]drivers.Request, error) {
	o, ok := link.Options.(*Options)
	if !ok { // of a link that was refused: its points are looked at all the same
		o = &Options{}
	}
	var errs []error
	for i := range points {
		if err := checkPoint(o, &points[i]); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(p, q drivers.Point) int { return cmp.Compare(p.Period, q.Period) })
	var out []drivers.Request
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && n < MaxItems && sorted[n].Period == sorted[0].Period {
			n++
		}
		r := &request{points: sorted[:n:n]}
		r.cost = cost(r.points)
		out = append(out, r)
		sorted = sorted[n:]
	}
	return out, nil
}

// checkPoint refuses what a link could not do.
func checkPoint(o *Options, p *drivers.Point) error {
	a, ok := p.Address.(Address)
	if !ok {
		panic(fmt.Sprintf("BUG: opcua: %s has the address of another driver", p.Name))
	}
	args := map[string]any{"tag": string(p.Name), "at": a.String()}
	switch {
	case p.Station != 0:
		return hint("opcua.station", "opcua.station", args)
	case p.Write && a.What != Node:
		return hint("opcua.write-part", "opcua.write-part", args)
	case a.What == Conditions && o.Poll:
		return hint("opcua.conditions-poll", "opcua.conditions-poll", args)
	case p.Decimals != nil:
		return hint("opcua.decimals", "opcua.decimals", args)
	case p.State != nil:
		return hint("opcua.state", "opcua.state", args)
	case p.Scaled() && (p.Type.Kind == tag.Bool || p.Type.Kind == tag.Enum || p.Type.Kind == tag.Text || a.What == Conditions):
		return hint("opcua.scale", "opcua.scale", args)
	}
	return nil
}

// The wire that Cost reckons with: Ethernet of 10 Mbit/s, the slowest in the
// field. Headers, signature and padding of a request and its answer take about
// envelope bytes, a node beside its name in the request perNode, a value with
// status and two times in the answer perValue.
const (
	bitTime  = 100 * time.Nanosecond
	envelope = 600
	perNode  = 20
	perValue = 30
)

func cost(points []drivers.Point) time.Duration {
	bytes := envelope
	for i := range points {
		bytes += perNode + perValue + len(points[i].Address.(Address).ID)
	}
	return time.Duration(bytes*8) * bitTime
}
