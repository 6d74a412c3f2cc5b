package history

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"davy/agent/journal"
	"davy/agent/replay"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// Limits of reading an export, each with what happens at it.
const (
	MaxLine    = 8 << 20 // bytes of a line; a longer one is an error
	blockLines = 1024    // lines read ahead of one stream
)

// Line is one record as a line of JSON.
type Line struct {
	Epoch   string       `json:"epoch"`
	Stream  string       `json:"stream"`
	Number  uint64       `json:"number"`
	Tag     string       `json:"tag,omitempty"` // by the tag table of the epoch; not known without it
	Event   *wire.Event  `json:"event,omitempty"`
	Reading *tag.Reading `json:"reading,omitempty"`
	Value   string       `json:"value,omitempty"`
	Name    string       `json:"value_name,omitempty"` // by that table too: of a state, or the text itself
	Record  []Sampled    `json:"record,omitempty"`     // the event's frozen record, readable
}

// Sampled is one reading of a frozen record.
type Sampled struct {
	Tag     string `json:"tag"` // by that table; "tag-N" of one that it does not hold
	At      int64  `json:"at"`  // wall, ns
	Value   string `json:"value,omitempty"`
	Name    string `json:"value_name,omitempty"`
	Quality uint32 `json:"quality"`
}

func recordOf(e *wire.Event, names map[tag.ID]wire.TableTag) []Sampled {
	var out []Sampled
	for i := range e.Record {
		r := &e.Record[i]
		x := Sampled{Tag: fmt.Sprintf("tag-%d", r.Tag), At: r.Received.Wall, Quality: uint32(r.Quality)}
		if t, ok := names[r.Tag]; ok {
			x.Tag, x.Name = t.Name, t.NameOf(r.Value)
		}
		if r.Value.Kind() != tag.None {
			x.Value = r.Value.String()
		}
		out = append(out, x)
	}
	return out
}

// Export writes the epochs in the order in which they began, a line for each
// record. In each epoch the events come first, and with them the tag table
// that names its readings.
func Export(w io.Writer, r *journal.Reader) error {
	enc := json.NewEncoder(w)
	var epoch wire.Epoch
	names := map[tag.ID]wire.TableTag{}
	return r.WalkInTime(func(rec journal.Record) error {
		if rec.Epoch != epoch {
			epoch = rec.Epoch
			clear(names)
		}
		if rec.Event != nil && rec.Event.Table != nil {
			for _, t := range rec.Event.Table.Tags {
				names[t.ID] = t
			}
		}
		x := Line{Epoch: hex.EncodeToString(rec.Epoch[:]), Stream: rec.Stream, Number: rec.Number, Event: rec.Event, Reading: rec.Reading}
		id, v := tag.ID(0), tag.Value{}
		switch {
		case rec.Reading != nil:
			id, v = rec.Reading.Tag, rec.Reading.Value
			x.Value = v.String()
		case rec.Event != nil:
			id, v = rec.Event.Tag, rec.Event.Value
			x.Value = v.String()
			x.Record = recordOf(rec.Event, names)
		}
		t := names[id]
		x.Tag = t.Name
		if rec.Event == nil || rules.Kind(rec.Event.Kind) != ring.DeviceEvent { // whose value is a severity
			x.Name = t.NameOf(v)
		}
		return enc.Encode(x)
	})
}

// File is an export as a history.
type File struct {
	path   string
	epochs []replay.Epoch
	parts  []map[string]part // of each epoch, by stream
	kinds  []map[tag.ID]tag.Kind
	table  []byte // what the line of a tag table has near its beginning
}

// part is where the lines of one stream of one epoch stand.
type part struct{ from, to int64 }

// ErrExport says that a file is not what `davy journal export` writes. The
// error that wraps it names the line.
var ErrExport = errors.New("not an export of a journal")

// OpenExport looks through an export once, and finds where each stream of each
// epoch stands.
func OpenExport(path string) (*File, error) {
	f := &File{path: path, table: fmt.Appendf(nil, `"event":{"Kind":%d,`, ring.TagTable)}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file: it is read in several places at once", path)
	}
	in := bufio.NewReaderSize(file, 1<<20)
	at, last, n := int64(0), "", 0
	for {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		n++
		if err == nil {
			err = f.index(line, at, &last)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s:%d: %w", path, n, err)
		}
		at += int64(len(line))
	}
}

// readLine returns the next line with its end; it lives until the next call.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return nil, fmt.Errorf("%w: the last line is cut short", ErrExport)
		}
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) && len(long) <= MaxLine {
		line, err = in.ReadSlice('\n')
		long = append(long, line...)
	}
	if err == nil && len(long) > MaxLine || errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrExport, MaxLine)
	}
	return long, err
}

// index notes one line.
func (f *File) index(line []byte, at int64, last *string) error {
	epoch, stream, wall, ok := glance(line)
	var whole *Line
	if !ok || bytes.Contains(line[:min(len(line), 400)], f.table) {
		x, err := parseLine(line)
		if err != nil {
			return err
		}
		whole, epoch, stream = x, x.Epoch, x.Stream
		wall = x.wall()
	}
	if epoch != *last {
		raw, err := hex.DecodeString(epoch)
		if err != nil || len(raw) != len(wire.Epoch{}) {
			return fmt.Errorf("%w: epoch %q", ErrExport, epoch)
		}
		for _, e := range f.epochs {
			if e.ID == wire.Epoch(raw) {
				return fmt.Errorf("%w: the lines of epoch %s do not stand together", ErrExport, epoch)
			}
		}
		f.epochs = append(f.epochs, replay.Epoch{ID: wire.Epoch(raw), From: wall, To: wall})
		f.parts, f.kinds = append(f.parts, map[string]part{}), append(f.kinds, map[tag.ID]tag.Kind{})
		*last = epoch
	}
	i := len(f.epochs) - 1
	if whole != nil && whole.Event != nil && whole.Event.Table != nil {
		for _, t := range whole.Event.Table.Tags {
			f.kinds[i][t.ID] = t.Kind
		}
	}
	e := &f.epochs[i]
	e.From, e.To = min(e.From, wall), max(e.To, wall)
	if stream == wire.ReadingStream {
		e.Reading = max(e.Reading, wall)
	}
	p, ok := f.parts[i][stream]
	if !ok {
		p.from = at
	} else if p.to != at {
		return fmt.Errorf("%w: the lines of stream %s of one epoch do not stand together", ErrExport, stream)
	}
	p.to = at + int64(len(line))
	f.parts[i][stream] = p
	return nil
}

func (x *Line) wall() int64 {
	if x.Reading != nil {
		return x.Reading.Received.Wall
	}
	return x.Event.At.Wall
}

// glance reads of a line what its place says, as Export writes it; ok is false
// where that is not to be seen at a glance.
func glance(line []byte) (epoch, stream string, wall int64, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"epoch":"`))
	if !ok || len(rest) < 32 {
		return "", "", 0, false
	}
	e, rest := rest[:32], rest[32:]
	rest, ok = bytes.CutPrefix(rest, []byte(`","stream":"`))
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return "", "", 0, false
	}
	s, rest := rest[:end], rest[end:]
	at := bytes.Index(rest, []byte(`"Wall":`))
	if at < 0 {
		return "", "", 0, false
	}
	rest = rest[at+len(`"Wall":`):]
	end = bytes.IndexByte(rest, ',')
	if end < 0 {
		return "", "", 0, false
	}
	wall, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	return string(e), string(s), wall, err == nil
}

func parseLine(line []byte) (*Line, error) {
	x := new(Line)
	if err := json.Unmarshal(line, x); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExport, err)
	}
	if (x.Event == nil) == (x.Reading == nil) {
		return nil, fmt.Errorf("%w: a line is an event or a reading", ErrExport)
	}
	return x, nil
}

// Epochs implements replay.Source.
func (f *File) Epochs() []replay.Epoch { return f.epochs }

// Damaged implements replay.Source: what an export does not hold it does not know.
func (f *File) Damaged() []string { return nil }

// Events implements replay.Source.
func (f *File) Events(epoch int) replay.Blocks[wire.Event] {
	return &lines[wire.Event]{f: f, part: f.parts[epoch][wire.EventStream], take: func(x *Line) (wire.Event, error) {
		if x.Event == nil {
			return wire.Event{}, fmt.Errorf("%w: a reading among the events", ErrExport)
		}
		kind, ok := f.kinds[epoch][x.Event.Tag]
		if !ok || rules.Kind(x.Event.Kind) == ring.DeviceEvent { // of no tag: a time, a severity, what was written to an output
			kind = kindOf(x.Value)
		}
		v, err := parseValue(x.Value, kind)
		x.Event.Value = v
		return *x.Event, err
	}}
}

// Readings implements replay.Source.
func (f *File) Readings(epoch int) replay.Blocks[tag.Reading] {
	return &lines[tag.Reading]{f: f, part: f.parts[epoch][wire.ReadingStream], take: func(x *Line) (tag.Reading, error) {
		if x.Reading == nil {
			return tag.Reading{}, fmt.Errorf("%w: an event among the readings", ErrExport)
		}
		v, err := parseValue(x.Value, f.kinds[epoch][x.Reading.Tag])
		x.Reading.Value = v
		if !x.Reading.Quality.Valid() {
			err = errors.Join(err, fmt.Errorf("%w: quality %d", ErrExport, x.Reading.Quality))
		}
		return *x.Reading, err
	}}
}

// kindOf guesses what a value is that belongs to no tag.
func kindOf(s string) tag.Kind {
	switch {
	case s == "true" || s == "false":
		return tag.Bool
	case strings.HasPrefix(s, "text#"):
		return tag.Text
	}
	return tag.Float64
}

// parseValue reads what tag.Value.String wrote of a value of a kind.
func parseValue(s string, kind tag.Kind) (v tag.Value, err error) {
	if s == "-" || s == "" || kind == tag.None {
		return v, nil
	}
	ok := true
	switch kind {
	case tag.Bool:
		var b bool
		if b, err = strconv.ParseBool(s); err == nil {
			v = tag.BoolValue(b)
		}
	case tag.Int, tag.Enum:
		var n int64
		n, err = strconv.ParseInt(s, 10, 64)
		if v = tag.IntValue(n); kind == tag.Enum {
			v = tag.EnumValue(n)
		}
	case tag.Text:
		var n uint64
		n, err = strconv.ParseUint(strings.TrimPrefix(s, "text#"), 10, 32)
		v = tag.TextValue(uint32(n))
	case tag.Float32:
		var x float64
		if x, err = strconv.ParseFloat(s, 32); err == nil {
			v, ok = tag.Float32Value(float32(x))
		}
	default:
		var x float64
		if x, err = strconv.ParseFloat(s, 64); err == nil {
			v, ok = tag.Float64Value(x)
		}
	}
	if err != nil || !ok {
		return tag.Value{}, fmt.Errorf("%w: value %q", ErrExport, s)
	}
	return v, nil
}

// lines reads one part of the file, some lines at a time.
type lines[T any] struct {
	f    *File
	part part
	take func(*Line) (T, error)
	held *Line // read, and not of the block before
}

// Next implements replay.Blocks. The file is not held open between two calls.
func (l *lines[T]) Next(after int64) (out replay.Block[T], err error) {
	if l.held == nil && l.part.from >= l.part.to {
		return out, io.EOF
	}
	file, err := os.Open(l.f.path)
	if err != nil {
		return out, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(io.NewSectionReader(file, l.part.from, l.part.to-l.part.from), 256<<10)
	for len(out.Records) < blockLines {
		x := l.held
		if l.held = nil; x == nil {
			line, err := readLine(in)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return out, fmt.Errorf("read %s: %w", l.f.path, err)
			}
			l.part.from += int64(len(line))
			if _, _, wall, ok := glance(line); ok && wall < after && len(out.Records) == 0 {
				continue
			}
			if x, err = parseLine(line); err != nil {
				return out, fmt.Errorf("read %s: %w", l.f.path, err)
			}
			if len(out.Records) > 0 && x.Number != out.First+uint64(len(out.Records)) {
				l.held = x
				break
			}
		}
		wall := x.wall()
		if len(out.Records) == 0 {
			out.First, out.From, out.To = x.Number, wall, wall
		}
		v, err := l.take(x)
		if err != nil {
			return out, fmt.Errorf("read %s: epoch %s, %s %d: %w", l.f.path, x.Epoch, x.Stream, x.Number, err)
		}
		out.Records = append(out.Records, v)
		out.From, out.To = min(out.From, wall), max(out.To, wall)
	}
	if len(out.Records) == 0 {
		return out, io.EOF
	}
	return out, nil
}
