package agent

import (
	"maps"
	"reflect"
	"testing"

	"davy/agent/config"
	"davy/agent/operate"
	"davy/drivers/tag"
	"davy/rules"
)

// What the plan knows of a condition and of a channel goes into the View.
func TestWordsAndUnitsOfTheView(t *testing.T) {
	p := &config.Plan{
		Tags:       []config.Tag{{}, {Name: "nh3-1.gas", Unit: "ppm"}, {Name: "uplink.regulator.offline", Text: rules.Text{Zh: "上传离线", En: "uplink offline"}}},
		Conditions: map[string]tag.ID{"uplink.regulator.offline": 2},
		Rules:      rules.Set{Interlocks: []rules.Interlock{{Channels: []rules.Channel{{Name: "nh3-1.gas", Cond: rules.Condition{Tag: 1}}}}}},
	}
	got := conditionTexts(p, []string{"journal.of-tomorrow", "uplink.regulator.offline"})
	want := []operate.Condition{{Code: "uplink.regulator.offline", Text: operate.Text{Zh: "上传离线", En: "uplink offline"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("texts %+v, want %+v", got, want)
	}
	if units := channelUnits(p); !maps.Equal(units, map[string]string{"nh3-1.gas": "ppm"}) {
		t.Errorf("units %v", units)
	}
}

// A computed tag that is bad counts as bad; the agent's own conditions do not count.
func TestComputedTagsCount(t *testing.T) {
	tags := []config.Tag{{}, {Name: "a.x"}, {Name: "record.stopped", Link: -1}, {Name: "room.mean", Link: -1, Of: []tag.ID{1}}}
	image := []tag.Reading{{}, {Quality: tag.GoodQuality}, {Quality: tag.GoodQuality}, {Quality: tag.BadNeverRead}}
	if got, want := countTags(tags, image), (operate.Tags{Total: 2, Good: 1, Bad: 1, NeverRead: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
