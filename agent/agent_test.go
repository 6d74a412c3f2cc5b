package agent

import (
	"slices"
	"testing"
	"time"

	"davy/agent/clock"
	"davy/agent/control"
	"davy/agent/operate"
	"davy/drivers/tag"
)

// What nobody knows must not look like a hand-over, which is the only 0.
func TestDown(t *testing.T) {
	now := clock.Now()
	ago := func(wall, mono time.Duration) tag.Stamp {
		return tag.Stamp{Wall: now.Wall - int64(wall), Mono: now.Mono - int64(mono)}
	}
	trusted, _ := clock.Trusted()
	otherBoot := time.Duration(notKnown)
	if trusted {
		otherBoot = time.Hour
	}
	for _, c := range []struct {
		name   string
		memory control.Memory
		handed bool
		want   time.Duration
	}{
		{"the first start", control.Memory{}, false, notKnown},
		{"a restart within a boot", control.Memory{Boot: "b", Saved: ago(time.Hour, 3*time.Second)}, false, 3 * time.Second},
		{"within a boot, at once", control.Memory{Boot: "b", Saved: ago(0, 0)}, false, 1},
		{"within a boot, the clock set back meanwhile", control.Memory{Boot: "b", Saved: ago(-24*time.Hour, 5*time.Second)}, false, 5 * time.Second},
		{"another boot", control.Memory{Boot: "a", Saved: ago(time.Hour, -time.Hour)}, false, otherBoot},
		{"another boot, saved in the future", control.Memory{Boot: "a", Saved: ago(-time.Hour, 0)}, false, notKnown},
		{"one generation to the next", control.Memory{Boot: "b", Saved: ago(0, handOver/2)}, true, 0},
	} {
		p := &process{boot: "b", started: now, memory: c.memory, handed: c.handed}
		if got := p.down(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	p := &process{boot: "b", started: now, memory: control.Memory{Boot: "b", Saved: ago(5*handOver, 5*handOver)}, handed: true}
	if got := p.down(); got < 5*handOver || got > 5*handOver+time.Minute {
		t.Errorf("a hand-over that took %v: %v", 5*handOver, got)
	}
}

func TestStanding(t *testing.T) {
	v := &operate.View{
		Interlocks: []operate.Interlock{{Name: "tripped", State: operate.Tripped}, {Name: "armed", State: operate.Armed}},
		Alarms:     []operate.Alarm{{Name: "raised", State: operate.Unacked}, {Name: "other", State: operate.Acked}},
	}
	if got := Standing(v, []string{"armed", "gone", "raised", "tripped"}); !slices.Equal(got, []string{"tripped", "raised"}) {
		t.Errorf("%v", got)
	}
	if got := Standing(v, nil); len(got) != 0 {
		t.Errorf("nothing is dropped, and %v stands", got)
	}
}
