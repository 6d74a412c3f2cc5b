package agent

import (
	"strings"
	"testing"
	"unicode/utf8"

	"davy/agent/config"
	"davy/drivers/tag"
)

// What a device says is kept as one line of bounded length that moves no
// cursor; what it is about is cut apart.
func TestWhatADeviceSays(t *testing.T) {
	if got, want := noteOf("Tank 1", "high\r\n\x1b[2J", "active unacknowledged", "液位高"), "Tank 1 | high   [2J | active unacknowledged | 液位高"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	long := noteOf(strings.Repeat("氨", 1e5), strings.Repeat("\xff", 1e5), "", strings.Repeat("气体", 1e5))
	if len(long) > 3*(2*maxWord+maxMessage)+20 || !utf8.ValidString(long) || strings.Count(long, " | ") != 3 || strings.Count(long, "…") != 3 {
		t.Errorf("%d bytes: %.100q", len(long), long)
	}
}

// A reading that waits while the plan changes goes on under the next plan's tag
// only if its value means the same there: a text is a number of a plan's own table.
func TestSameTags(t *testing.T) {
	plan := func(tags ...config.Tag) *config.Plan {
		p := &config.Plan{Tags: []config.Tag{{}}}
		for i := range tags {
			tags[i].ID = tag.ID(i + 1)
			p.Tags = append(p.Tags, tags[i])
		}
		return p
	}
	text := func(name tag.Name, names ...config.Name) config.Tag {
		return config.Tag{Name: name, Kind: tag.Text, Names: names}
	}
	from := plan(config.Tag{Name: "a", Unit: "ppm"}, text("gas", config.Name{Code: 0, Name: "NH3"}), text("same", config.Name{Code: 1, Name: "Cl2"}), config.Tag{Name: "gone"},
		config.Tag{Name: "mode", Kind: tag.Enum, Names: []config.Name{{Code: 1, Name: "run"}}})
	to := plan(text("same", config.Name{Code: 1, Name: "Cl2"}), text("gas", config.Name{Code: 2, Name: "NH3"}), config.Tag{Name: "a", Unit: "ppm"},
		config.Tag{Name: "mode", Kind: tag.Enum, Names: []config.Name{{Code: 1, Name: "stop"}}})
	is := sameTags(from, to)
	for id, want := range map[tag.ID]tag.ID{0: 0, 1: 3, 2: 0, 3: 1, 4: 0, 5: 0, 99: 0} {
		if got := is(id); got != want {
			t.Errorf("tag %d is %d, want %d", id, got, want)
		}
	}
}
