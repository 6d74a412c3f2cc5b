package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"davy/drivers/tag"
)

// The fields of a ReadingBody: see davy.proto, which says what is in them.
const (
	colScans = iota + 8
	colWall
	colMono
	colWalls
	colMonos
	colTags
	colQualities
	colKinds
	colForms
	colWidths
	colFirsts
	colDeltas
	colSourced
	colSources
	columnsEnd
)

// EncodeReadings returns the compressed body of a block of the stream
// reading. More than MaxRecords readings are a programmer's error.
func EncodeReadings(readings []tag.Reading) []byte {
	if len(readings) > MaxRecords {
		panic("BUG: wire: too many readings for one block")
	}
	return pack(appendColumns(nil, readings))
}

// DecodeReadings reads the body of a block of the stream reading.
func DecodeReadings(body []byte) ([]tag.Reading, error) {
	b, err := unpack(body)
	if err != nil {
		return nil, fmt.Errorf("decode readings: %w", err)
	}
	readings, err := decodeColumns(b, MaxRecords)
	if err != nil {
		return nil, fmt.Errorf("decode readings: %w", err)
	}
	return readings, nil
}

// columns is a ReadingBody while it is made.
type columns struct {
	tags, qualities, kinds []byte // varints
	forms, widths          []byte
	firsts, deltas         classes
	numbers                []int64 // of a series
}

// appendColumns appends the ReadingBody of readings.
func appendColumns(b []byte, readings []tag.Reading) []byte {
	if len(readings) == 0 {
		return b
	}
	e := &columns{}
	order, tags := e.sort(readings)
	b = appendScans(b, readings)
	b = putBytes(b, colTags, e.tags)

	values := make([]tag.Value, 0, 64)
	quality, kind := run{to: &e.qualities}, run{to: &e.kinds}
	for _, end := range tags {
		for _, i := range order[:end] {
			r := &readings[i]
			quality.add(uint64(r.Quality))
			kind.add(uint64(r.Value.Kind()))
			if r.Value.Kind() == tag.None {
				continue
			}
			if len(values) > 0 && values[0].Kind() != r.Value.Kind() {
				e.series(values)
				values = values[:0]
			}
			values = append(values, r.Value)
		}
		order = order[end:]
		if len(values) > 0 {
			e.series(values)
			values = values[:0]
		}
	}
	quality.end()
	kind.end()
	b = putBytes(b, colQualities, e.qualities)
	b = putBytes(b, colKinds, e.kinds)
	b = putBytes(b, colForms, e.forms)
	b = putBytes(b, colWidths, e.widths)
	b = putBytes(b, colFirsts, e.firsts.append(nil))
	b = putBytes(b, colDeltas, e.deltas.append(nil))
	return appendSources(b, readings)
}

// follow foretells the tag of the next record: what came after the tag last
// time, and where nothing did, the tag with the next id. Tags have an index,
// in the order in which they come first.
type follow struct {
	ids   []tag.ID
	after []int // index of the tag that came after it, -1 none yet
	last  int   // index of the last record's tag, -1 none yet
	index map[tag.ID]int
}

// newFollow foretells the tags of n records.
func newFollow(n int) follow {
	n = min(n, 1024) // of a plant's tags, about; more grow as they come
	return follow{last: -1, index: make(map[tag.ID]int, n), ids: make([]tag.ID, 0, n), after: make([]int, 0, n)}
}

// foretold returns the tag that is expected, and its index if it has come
// before, else -1.
func (f *follow) foretold() (id tag.ID, index int) {
	if f.last < 0 {
		return 1, -1
	}
	if next := f.after[f.last]; next >= 0 {
		return f.ids[next], next
	}
	return f.ids[f.last] + 1, -1
}

// before returns the last record's tag, 0 if there was none.
func (f *follow) before() tag.ID {
	if f.last < 0 {
		return 0
	}
	return f.ids[f.last]
}

// take notes a record's tag and returns its index; known is that index where
// it is known already, else -1.
func (f *follow) take(id tag.ID, known int) int {
	if known < 0 {
		var ok bool
		if known, ok = f.index[id]; !ok {
			known = len(f.ids)
			f.index[id] = known
			f.ids, f.after = append(f.ids, id), append(f.after, -1)
		}
	}
	if f.last >= 0 {
		f.after[f.last] = known
	}
	f.last = known
	return known
}

// sort makes the column of the tags. It returns the indexes of the readings,
// those of one tag together, the tags in the order in which they come first;
// and how many each tag has.
func (e *columns) sort(readings []tag.Reading) (order, counts []int) {
	f := newFollow(len(readings))
	at := make([]int, len(readings))
	hits := uint64(0)
	for i := range readings {
		id, known := f.foretold()
		if readings[i].Tag == id {
			hits++
		} else {
			e.tags = protowire.AppendVarint(e.tags, hits)
			e.tags = protowire.AppendVarint(e.tags, protowire.EncodeZigZag(int64(readings[i].Tag)-int64(f.before())))
			id, known, hits = readings[i].Tag, -1, 0
		}
		at[i] = f.take(id, known)
	}
	if hits > 0 {
		e.tags = protowire.AppendVarint(e.tags, hits)
	}
	return byTag(at, len(f.ids))
}

// byTag sorts records by the index of their tag.
func byTag(at []int, tags int) (order, counts []int) {
	counts = make([]int, tags)
	for _, t := range at {
		counts[t]++
	}
	next := make([]int, tags)
	for t := 1; t < tags; t++ {
		next[t] = next[t-1] + counts[t-1]
	}
	order = make([]int, len(at))
	for i, t := range at {
		order[next[t]] = i
		next[t]++
	}
	return order, counts
}

// appendScans appends the columns of the stamps. Readings that follow each
// other with the same one are a scan.
func appendScans(b []byte, readings []tag.Reading) []byte {
	var scans []byte
	var walls, monos []uint64
	before, n := readings[0].Received, uint64(0)
	for i := range readings {
		at := readings[i].Received
		if at != before {
			scans = protowire.AppendVarint(scans, n)
			wall, mono := at.Wall-before.Wall, at.Mono-before.Mono
			walls = append(walls, protowire.EncodeZigZag(wall))
			monos = append(monos, protowire.EncodeZigZag(mono-wall))
			before, n = at, 0
		}
		n++
	}
	b = putBytes(b, colScans, protowire.AppendVarint(scans, n))
	b = putSint(b, colWall, readings[0].Received.Wall)
	b = putSint(b, colMono, readings[0].Received.Mono)
	b = putBytes(b, colWalls, appendNumbers(nil, walls))
	return putBytes(b, colMonos, appendNumbers(nil, monos))
}

// appendSources appends the columns of the source times.
func appendSources(b []byte, readings []tag.Reading) []byte {
	var runs []byte
	var times []uint64
	before, n, with := readings[0].Received.Wall, uint64(0), false
	for i := range readings {
		s := readings[i].Source
		if (s != 0) != with {
			runs = protowire.AppendVarint(runs, n)
			n, with = 0, !with
		}
		n++
		if with {
			times = append(times, protowire.EncodeZigZag(s-before))
			before = s
		}
	}
	if len(times) == 0 {
		return b
	}
	b = putBytes(b, colSourced, protowire.AppendVarint(runs, n))
	return putBytes(b, colSources, appendNumbers(nil, times))
}
