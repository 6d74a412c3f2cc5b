package operate

import (
	"io"
	"strconv"
	"strings"
	"time"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers/tag"
)

// Fresh is one tag as its device said it just now. Its JSON is stable as that
// of View is.
type Fresh struct {
	Tag      string    `json:"tag"`
	Text     Text      `json:"text"`
	Value    *float64  `json:"value,omitempty"` // absent where there is none, and of a text
	Name     string    `json:"name,omitempty"`  // of a state, or the text itself
	Unit     string    `json:"unit,omitempty"`
	Quality  string    `json:"quality"` // good, uncertain, bad
	Reason   string    `json:"reason"`  // why; see Reasons
	Flags    []string  `json:"flags,omitempty"`
	At       time.Time `json:"at,omitzero"`        // when it was received
	Source   time.Time `json:"source,omitzero"`    // what the device says of its time
	Took     float64   `json:"took_ms"`            // from asking to having
	Pushed   bool      `json:"pushed,omitempty"`   // not asked for: the newest word of a device that speaks by itself
	Computed bool      `json:"computed,omitempty"` // not asked for: what the rules made of other tags
	Age      float64   `json:"age_s,omitempty"`    // … how long ago it was received or computed
	Problem  string    `json:"problem,omitempty"`
}

// reasons are the names of why a quality is what it is, for JSON and for the
// words ("operate.reason.<name>").
var reasons = [...]string{
	tag.NeverRead: "never-read", tag.NoCommunication: "no-communication", tag.DeviceFault: "device-fault", tag.SensorFault: "sensor-fault",
	tag.Stale: "stale", tag.Configuration: "configuration", tag.OutOfService: "out-of-service", tag.FunctionCheck: "function-check",
	tag.OutOfRange: "out-of-range", tag.Initial: "initial", tag.LastUsable: "last-usable", tag.Substituted: "substituted",
	tag.NotAccurate: "not-accurate", tag.RangeExceeded: "range-exceeded", tag.SubNormal: "sub-normal", tag.UncertainPlain: "plain",
	tag.Plain: "plain", tag.LocalOverride: "local-override",
}

var flags = []struct {
	flag tag.Quality
	name string
}{{tag.LimitLow, "limit-low"}, {tag.LimitHigh, "limit-high"}, {tag.Forced, "forced"}, {tag.Test, "test"}, {tag.Maintenance, "maintenance"}}

// FreshOf converts a reading of a tag; err is what the link said, if anything.
func FreshOf(t *config.Tag, r tag.Reading, took time.Duration, err error) *Fresh {
	f := &Fresh{
		Tag: string(t.Name), Text: TextOf(t.Text), Value: number(r.Value), Unit: t.Unit,
		Quality: [...]string{tag.Bad: "bad", tag.Uncertain: "uncertain", tag.Good: "good", 3: "bad"}[r.Quality.Status()],
		Reason:  "plain", At: Wall(r.Received), Took: float64(took.Microseconds()) / 1000,
	}
	if i := int(r.Quality.Reason()); i < len(reasons) {
		f.Reason = reasons[i]
	}
	for _, x := range flags {
		if r.Quality&x.flag != 0 {
			f.Flags = append(f.Flags, x.name)
		}
	}
	if r.Source != 0 {
		f.Source = time.Unix(0, r.Source).UTC()
	}
	f.Name = nameOf(t.Names, r.Value)
	if err != nil {
		f.Problem = err.Error()
	}
	return f
}

// Write prints f for a person in one line, and what went wrong in a second.
func (f *Fresh) Write(w io.Writer, l i18n.Lang) error {
	value := f.Name
	switch {
	case f.Value != nil && f.Name != "":
		value += " (" + figure(*f.Value) + ")"
	case f.Value != nil:
		value = amount(*f.Value, f.Unit)
	case f.Name == "":
		value = l.Text("operate.no-value", nil)
	}
	quality := l.Text("operate.quality."+f.Quality, nil)
	if f.Reason != "plain" {
		quality += l.Text("operate.colon", nil) + l.Text("operate.reason."+f.Reason, nil)
	}
	for _, x := range f.Flags {
		quality += l.Text("operate.comma", nil) + l.Text("operate.flag."+x, nil)
	}
	line := l.Text("operate.fresh", i18n.Args{"tag": f.Tag, "value": value, "quality": quality, "took": figure(f.Took)})
	switch {
	case f.Computed && !f.At.IsZero():
		age := strconv.FormatFloat(f.Age, 'f', 1, 64)
		line = l.Text("operate.fresh-computed", i18n.Args{"tag": f.Tag, "value": value, "quality": quality, "age": age})
	case f.Pushed && f.At.IsZero():
		line = l.Text("operate.fresh-never", i18n.Args{"tag": f.Tag, "value": value, "quality": quality})
	case f.Pushed:
		age := strconv.FormatFloat(f.Age, 'f', 1, 64)
		line = l.Text("operate.fresh-pushed", i18n.Args{"tag": f.Tag, "value": value, "quality": quality, "age": age})
	}
	if text := f.Text.In(l); text != "" && text != f.Tag {
		line += "  " + text
	}
	if f.Problem != "" {
		line += "\n  " + i18n.Plain(f.Problem)
	}
	_, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n")
	return err
}
