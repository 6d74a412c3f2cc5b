package modbus

import (
	"cmp"
	"slices"
)

// stretch is the registers or bits of a table from first to before end.
type stretch struct{ first, end int }

// land is what is known of one table of a device: what of it some point uses,
// of whatever period, and what one request may take. It never changes.
type land struct {
	table    Table
	limit    int       // of one request
	gap      int       // unused in a row that a request may bridge
	used     []stretch // sorted and apart from one another
	islands  []stretch // sorted: no request reaches from one to another
	identity int       // the register that rides along; -1: none
}

// survey makes the land of a device's points of one table.
func survey(points []placed) *land {
	p := &points[0]
	l := &land{table: p.table, limit: p.unit.limit(p.table), gap: p.unit.gap(p.table), identity: -1}
	var all []stretch
	if u := p.unit; u != nil && u.identity.set && u.identity.at.Table == l.table {
		l.identity = int(u.identity.at.Number)
		all = append(all, stretch{l.identity, l.identity + 1})
	}
	for i := range points {
		c := &points[i].cell
		all = append(all, stretch{c.at, c.at + c.size})
		if c.decimals >= 0 {
			all = append(all, stretch{c.decimals, c.decimals + 1})
		}
		if c.state >= 0 {
			all = append(all, stretch{c.state, c.state + p.unit.size(l.table, points[i].State.Type)})
		}
	}
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Compare(a.first, b.first) })
	l.used = merge(all, 0)
	l.islands = merge(l.used, l.gap)
	for i := range points {
		points[i].island = l.island(points[i].first)
	}
	return l
}

// merge joins sorted stretches that are no more than gap apart.
func merge(all []stretch, gap int) (out []stretch) {
	for _, s := range all {
		if n := len(out); n > 0 && s.first-out[n-1].end <= gap {
			out[n-1].end = max(out[n-1].end, s.end)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// island returns the number of the island that a used register lies in.
func (l *land) island(at int) int {
	i, found := slices.BinarySearchFunc(l.islands, at, func(s stretch, at int) int { return cmp.Compare(s.first, at) })
	if !found {
		i--
	}
	return i
}

// holds returns an error where one request cannot take all of p's reading.
func (l *land) holds(p *placed) error {
	size := p.end - p.first
	alone := p.decimals < 0 && p.state < 0
	if size <= l.limit && (alone || p.island == l.island(p.end-1)) {
		return nil
	}
	args := map[string]any{"tag": string(p.Name), "at": p.Address.String(), "from": span(l.table, uint16(p.first), size), "limit": l.limit, "count": size}
	if alone {
		return wrong("modbus.block-short", "modbus.block-short", args)
	}
	return wrong("modbus.companion-far", "modbus.companion-far", args)
}

// fits reports whether one request may take all from p to q, which ends at
// end; p is not after q.
func (l *land) fits(p, q *placed, end int) bool {
	return p.island == q.island && end-p.first <= l.limit
}

// join returns the stretch widened by the identity register where that can
// ride along and is no further than reach from it.
func (l *land) join(first, end, reach int) (int, int) {
	if l.identity < 0 {
		return first, end
	}
	from, to := min(first, l.identity), max(end, l.identity+1)
	if to-from > l.limit || first-from > reach || to-end > reach || l.island(first) != l.island(l.identity) {
		return first, end
	}
	return from, to
}

// extend says whether a request for first to end may also take [from, to)
// beside it: 0 no, 1 yes, 2 yes and points use all of it.
func (l *land) extend(first, end, from, to int) int {
	if from < 0 || to > 65536 || max(end, to)-min(first, from) > l.limit {
		return 0
	}
	for _, s := range l.used {
		if s.first <= from && to <= s.end {
			return 2
		}
	}
	if to-from > l.gap {
		return 0
	}
	return 1
}
