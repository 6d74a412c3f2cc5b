package logbook

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// maxLine is the longest line that Read takes.
const maxLine = 1 << 16

// Read returns the entries of a log. A last line without its end (the plant
// was killed in the middle of it) is left out; a hole in the numbers is an error.
func Read(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read plant log: %w", err)
	}
	defer func() { _ = f.Close() }()
	var all []Entry
	r := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil { // the end, or more than a line can be
			if len(line) == maxLine {
				return all, fmt.Errorf("read plant log %s line %d: longer than %d bytes", path, len(all)+1, maxLine)
			}
			return all, nil
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return all, fmt.Errorf("read plant log %s line %d: %w", path, len(all)+1, err)
		}
		if e.N != 1 && (len(all) == 0 || e.N != all[len(all)-1].N+1) { // 1: another run appended to the file
			return all, fmt.Errorf("read plant log %s line %d: number %d is not the next", path, len(all)+1, e.N)
		}
		all = append(all, e)
	}
}

// Span is a stretch of time in which something stood. To is math.MaxInt64
// where it still stands at the end of the log.
type Span struct{ From, To int64 } // Mono

// Length returns how long s stood by end (the last entry's Mono).
func (s Span) Length(end int64) time.Duration { return time.Duration(min(s.To, end) - s.From) }

// Above returns when tag's register stood at or above rise, ended by its fall
// below fall (the limit less its deadband). Both must be watched levels.
func Above(log []Entry, tag string, rise, fall float64) []Span {
	var spans []Span
	up := false
	for _, e := range log {
		switch {
		case e.Tag != tag:
		case !up && e.Event == Rose && e.Level == rise:
			spans, up = append(spans, Span{e.Mono, math.MaxInt64}), true
		case up && e.Event == Fell && e.Level == fall:
			spans[len(spans)-1].To, up = e.Mono, false
		}
	}
	return spans
}

// On returns when the bit (a coil or a discrete input, "io1.fan-run") was on.
func On(log []Entry, tag string) []Span {
	return spans(log, func(e Entry) bool { return e.Event == Bit && e.Tag == tag })
}

// Faulty returns when a fault stood ("dead nh3-3").
func Faulty(log []Entry, name string) []Span {
	return spans(log, func(e Entry) bool { return e.Event == Fault && e.Name == name })
}

func spans(log []Entry, mine func(Entry) bool) []Span {
	var all []Span
	up := false
	for _, e := range log {
		switch {
		case !mine(e) || e.On == nil || *e.On == up:
		case *e.On:
			all, up = append(all, Span{e.Mono, math.MaxInt64}), true
		default:
			all[len(all)-1].To, up = e.Mono, false
		}
	}
	return all
}

// Together returns when at least m of the groups stood at once.
func Together(m int, groups ...[]Span) []Span {
	type edge struct {
		at int64
		up bool
	}
	var edges []edge
	for _, g := range groups {
		for _, s := range g {
			edges = append(edges, edge{s.From, true}, edge{s.To, false})
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int {
		switch {
		case a.at != b.at && a.at < b.at:
			return -1
		case a.at != b.at:
			return 1
		case a.up == b.up:
			return 0
		case a.up: // what begins when another ends meets it
			return -1
		}
		return 1
	})
	var all []Span
	n := 0
	for _, e := range edges {
		if e.up {
			if n++; n == m {
				all = append(all, Span{e.at, math.MaxInt64})
			}
			continue
		}
		if n--; n == m-1 {
			all[len(all)-1].To = e.at
		}
	}
	return all
}

// Written returns the writes to a coil that were carried out with this value
// at or after from.
func Written(log []Entry, unit, coil int, on bool, from int64) []Entry {
	want := 0
	if on {
		want = 1
	}
	var all []Entry
	for _, e := range log {
		if e.Event != Write || e.Unit != unit || e.Mono < from || e.Done == nil || !*e.Done || e.Function != 5 && e.Function != 15 {
			continue
		}
		if i := coil - *e.Address; i >= 0 && i < len(e.Values) && e.Values[i] == want {
			all = append(all, e)
		}
	}
	return all
}

// TripResponse returns how long after the second detector's register reached
// level the coil was written on: the first such rise, and the first write
// after it. ok is false where one of them is missing.
func TripResponse(log []Entry, level float64, tags []string, unit, coil int) (d time.Duration, ok bool) {
	groups := make([][]Span, len(tags))
	for i, t := range tags {
		groups[i] = Above(log, t, level, level)
	}
	both := Together(2, groups...)
	if len(both) == 0 {
		return 0, false
	}
	w := Written(log, unit, coil, true, both[0].From)
	if len(w) == 0 {
		return 0, false
	}
	return time.Duration(w[0].Mono - both[0].From), true
}

// MarkAt returns the instant of the first mark with this text, 0 if there is none.
func MarkAt(log []Entry, text string) int64 {
	for _, e := range log {
		if e.Event == Mark && e.Text == text {
			return e.Mono
		}
	}
	return 0
}
