package operate

import (
	"time"

	"davy/rules"
)

// Bypassed says that a channel of an interlock is bypassed, or waits to be.
type Bypassed struct {
	Channel string  `json:"channel"`
	Who     string  `json:"who"`
	Second  string  `json:"second,omitempty"` // who confirmed it
	Note    string  `json:"note,omitempty"`
	Waiting bool    `json:"waiting,omitempty"` // for the second person
	Overdue bool    `json:"overdue,omitempty"` // its time is over and it stays
	Left    float64 `json:"left_s,omitempty"`  // until it ends, or until the second person is too late
}

// Mark says who did something to a point, since when and why.
type Mark struct {
	Who   string    `json:"who"`
	Note  string    `json:"note,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// Trial is a test that goes on.
type Trial struct {
	Mark
	Left float64 `json:"left_s"`
}

// Device is a device or a detector. All of them are listed.
type Device struct {
	Name    string    `json:"name"`
	Text    Text      `json:"text"`
	Removed *Mark     `json:"removed,omitempty"` // out of service
	Test    *Trial    `json:"test,omitempty"`
	Passed  time.Time `json:"passed,omitzero"` // the last passed test; absent: none is known
}

// Forced is a tag that has a value by force.
type Forced struct {
	Mark
	Tag       string   `json:"tag"`
	Unit      string   `json:"unit,omitempty"`
	Value     *float64 `json:"value,omitempty"`
	ValueName string   `json:"value_name,omitempty"`
	Left      float64  `json:"left_s"`
}

func bypassOf(b *rules.BypassView) *Bypassed {
	if b == nil {
		return nil
	}
	return &Bypassed{
		Channel: b.Channel, Who: b.Who, Second: b.Second, Note: b.Note, Waiting: b.Waiting, Overdue: b.Overdue, Left: max(b.Left, 0).Seconds(),
	}
}

func markOf(m rules.Mark) Mark { return Mark{Who: m.Who, Note: m.Note, Since: Wall(m.Since)} }

// DeviceOf converts a device of the engine.
func DeviceOf(d *rules.DeviceView) Device {
	v := Device{Name: d.Name, Text: TextOf(d.Text)}
	if d.Removed != nil {
		m := markOf(*d.Removed)
		v.Removed = &m
	}
	if d.Test != nil {
		v.Test = &Trial{markOf(d.Test.Mark), max(d.Test.Left, 0).Seconds()}
	}
	if d.Passed > 0 {
		v.Passed = time.Unix(0, d.Passed).UTC()
	}
	return v
}

// ForceOf converts a force of the engine.
func ForceOf(f *rules.ForceView, names Names) Forced {
	v := Forced{Mark: markOf(f.Mark), Value: number(f.Value), ValueName: names.value(f.Tag, f.Value), Left: max(f.Left, 0).Seconds()}
	v.Tag, v.Unit = names.of(f.Tag)
	return v
}
