package jsonl

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"davy/agent/ring"
	"davy/agent/uplink/feed"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// Version of the form of a message.
const Version = 1

// maxExact is the largest whole number that every reader of JSON keeps.
const maxExact = 1<<53 - 1

// appendMessage appends one message of the first records, of one epoch, and
// returns how many they are.
func appendMessage(b []byte, gateway string, records []feed.Record) ([]byte, int) {
	first := &records[0]
	o := object{b: append(b, '{')}
	o.uint("v", Version)
	o.text("gateway", gateway)
	o.text("epoch", hex.EncodeToString(first.Epoch[:]))
	o.text("stream", first.Stream)
	o.key("records")
	o.b = append(o.b, '[')
	n, begin := 0, len(o.b)
	for n < len(records) && n < MaxMessage && len(o.b)-begin < MaxBytes && records[n].Epoch == first.Epoch {
		if n > 0 {
			o.b = append(o.b, ',')
		}
		o.b = AppendRecord(o.b, &records[n])
		n++
	}
	return append(o.b, ']', '}'), n
}

// AppendRecord appends one record as an object; see the package comment.
func AppendRecord(b []byte, r *feed.Record) []byte {
	o := object{b: append(b, '{')}
	o.uint("n", r.Number)
	if r.Reading != nil {
		o.stamp(r.Reading.Received)
		if r.Reading.Source != 0 {
			o.time("source", r.Reading.Source)
		}
		o.yes("history", r.History)
		o.reading(r.Reading, r.Tag)
	} else {
		o.stamp(r.Event.At)
		o.yes("history", r.History)
		o.event(r)
	}
	return append(o.b, '}')
}

func (o *object) reading(x *tag.Reading, t *wire.TableTag) {
	o.uint("id", uint64(x.Tag))
	if t != nil {
		o.text("tag", t.Name)
		o.some("unit", t.Unit)
	}
	o.value(x.Value, x.Quality, t)
	o.quality(x.Quality)
}

// value writes type, value, bad_value and name.
func (o *object) value(v tag.Value, q tag.Quality, t *wire.TableTag) {
	o.text("type", typeName(v.Kind()))
	key := "value"
	if q.Bad() {
		o.key("value")
		o.b = append(o.b, "null"...)
		if key = "bad_value"; v.Kind() == tag.None {
			return
		}
	}
	name := ""
	if t != nil {
		name = t.NameOf(v)
	}
	o.key(key)
	switch v.Kind() {
	case tag.None:
		o.b = append(o.b, "null"...)
	case tag.Bool:
		o.b = strconv.AppendBool(o.b, v.True())
	case tag.Int, tag.Enum:
		if n := v.Int(); n > maxExact || n < -maxExact {
			o.b = quote(o.b, strconv.FormatInt(n, 10))
		} else {
			o.b = strconv.AppendInt(o.b, n, 10)
		}
	case tag.Float32:
		o.b = number(o.b, v.Float(), 32)
	case tag.Float64:
		o.b = number(o.b, v.Float(), 64)
	case tag.Text: // an index into the plan's texts, which the table names
		if name == "" {
			o.b = append(o.b, "null"...)
		} else {
			o.b = quote(o.b, name)
		}
		return
	}
	o.some("name", name)
}

var types = [...]string{tag.None: "none", tag.Bool: "bool", tag.Int: "int", tag.Float32: "float32", tag.Float64: "float64", tag.Enum: "enum", tag.Text: "text"}

func typeName(k tag.Kind) string {
	if int(k) < len(types) {
		return types[k]
	}
	return "none"
}

// The words of qualities. They are stable.
var (
	statuses = [...]string{tag.Bad: "bad", tag.Uncertain: "uncertain", tag.Good: "good", 3: "bad"}
	reasons  = [...]string{
		tag.NeverRead: "never-read", tag.NoCommunication: "no-communication", tag.DeviceFault: "device-fault", tag.SensorFault: "sensor-fault",
		tag.Stale: "stale", tag.Configuration: "configuration", tag.OutOfService: "out-of-service", tag.FunctionCheck: "function-check",
		tag.OutOfRange: "out-of-range", tag.Initial: "initial", tag.LastUsable: "last-usable", tag.Substituted: "substituted",
		tag.NotAccurate: "not-accurate", tag.RangeExceeded: "range-exceeded", tag.SubNormal: "sub-normal", tag.UncertainPlain: "uncertain",
		tag.Plain: "", tag.LocalOverride: "local-override",
	}
	flags = [...]string{"limit-low", "limit-high", "forced", "test", "maintenance"} // bit by bit
)

// Words returns a quality in words: good, uncertain or bad, and why it is not
// simply good ("" where it is).
func Words(q tag.Quality) (status, reason string) {
	if !q.Valid() { // never better than bad
		return statuses[tag.Bad], "reason-" + strconv.Itoa(int(q.Reason()))
	}
	return statuses[q.Status()], reasons[q.Reason()]
}

// Flags returns the flags of a quality in words, with blanks between.
func Flags(q tag.Quality) string {
	var out []string
	for i, name := range flags {
		if q>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

func (o *object) quality(q tag.Quality) {
	status, reason := Words(q)
	o.text("quality", status)
	o.some("reason", reason)
	if q.Flags() == 0 {
		return
	}
	o.key("flags")
	o.b = append(o.b, '[')
	sep := ""
	for name := range strings.FieldsSeq(Flags(q)) {
		o.b = quote(append(o.b, sep...), name)
		sep = ","
	}
	o.b = append(o.b, ']')
}

var (
	priorities = [...]string{"", rules.Low: "low", rules.Medium: "medium", rules.High: "high", rules.Critical: "critical"}
	states     = [...]string{
		rules.Normal: "", rules.Unacked: "unacked", rules.Acked: "acked", rules.ReturnedUnacked: "returned-unacked", rules.LatchedUnacked: "latched-unacked",
		rules.LatchedAcked: "latched-acked", rules.Shelved: "shelved", rules.Suppressed: "suppressed", rules.OutOfService: "out-of-service",
	}
	votes   = [...]string{"", rules.VoteProcess: "process", rules.VoteBad: "bad", rules.VoteTest: "test", rules.VoteBypassed: "bypassed"}
	results = [...]string{"", rules.Passed: "passed", rules.Failed: "failed", rules.Aborted: "aborted"}
)

// word is the name of a number, "N" of one that is not known here.
func word(names []string, n uint32) string {
	if uint64(n) < uint64(len(names)) {
		return names[n]
	}
	return strconv.FormatUint(uint64(n), 10)
}

func kindName(k uint32) string {
	if k > math.MaxUint8 {
		return "kind-" + strconv.FormatUint(uint64(k), 10)
	}
	return ring.KindName(rules.Kind(k))
}

func (o *object) event(r *feed.Record) {
	e := r.Event
	if e.Beacon != nil || r.Stream == wire.HealthStream {
		o.text("kind", "health")
	} else {
		o.text("kind", kindName(e.Kind))
	}
	o.some("rule", e.Rule)
	o.count("occurrence", e.Occurrence)
	o.some("priority", word(priorities[:], e.Priority))
	if e.Tag != 0 {
		o.uint("id", uint64(e.Tag))
	}
	if r.Tag != nil {
		o.text("tag", r.Tag.Name)
		o.some("unit", r.Tag.Unit)
	}
	quality := e.Quality
	if k := rules.Kind(e.Kind); quality == 0 && (k == rules.ForceBegan || k == rules.ForceEnded) {
		quality = tag.MakeQuality(tag.Uncertain, tag.Substituted, tag.Forced) // what a person put in: no reading, and not a bad one
	}
	if e.Value.Kind() != tag.None || e.Tag != 0 {
		q := quality
		if e.Tag == 0 && q == 0 {
			q = tag.GoodQuality // a count, a severity: no measurement
		}
		o.value(e.Value, q, r.Tag)
	}
	if e.Tag != 0 || e.Quality != 0 {
		o.quality(quality)
	}
	if e.Kind == uint32(rules.AlarmRaised) && e.Value.Kind() != tag.None {
		o.float("limit", e.Limit)
	} else if e.Limit != 0 {
		o.float("limit", e.Limit)
	}
	o.some("first_out", e.FirstOut)
	if len(e.Votes) > 0 {
		o.list("votes", len(e.Votes), func(i int, x *object) {
			v := &e.Votes[i]
			x.text("channel", v.Channel)
			x.text("vote", word(votes[:], v.Reason))
			x.time("since", v.Since.Wall)
			x.value(v.Value, v.Quality, nil)
			x.quality(v.Quality)
			x.yes("last", v.Last)
		})
	}
	o.some("output", e.Output)
	if e.Who != "" {
		o.text("who", e.Who)
		o.bool("proved", e.Proved)
	}
	o.some("note", e.Note)
	o.some("hidden", word(states[:], e.Hidden))
	o.yes("test", e.Test)
	o.yes("first", e.First)
	o.some("channel", e.Channel)
	o.some("second", e.Second)
	if e.For != 0 {
		o.float("for_s", time.Duration(e.For).Seconds())
	}
	o.some("result", word(results[:], e.Result))
	if len(e.Record) > 0 {
		o.list("record", len(e.Record), func(i int, x *object) {
			x.stamp(e.Record[i].Received)
			x.reading(&e.Record[i], tagOf(r.Table, e.Record[i].Tag))
		})
	}
	o.count("samples", uint64(e.Samples))
	o.count("serial", e.Serial)
	o.parts(e)
}

func tagOf(t *wire.Table, id tag.ID) *wire.TableTag {
	if t != nil {
		for i := range t.Tags {
			if t.Tags[i].ID == id {
				return &t.Tags[i]
			}
		}
	}
	return nil
}

// quote appends a text of JSON; what is no UTF-8 becomes U+FFFD.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// number appends a finite number in the shortest form that reads back.
func number(b []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, bits)
	}
	return strconv.AppendFloat(b, f, 'f', -1, bits)
}
