package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"davy/drivers/sim"
	"davy/drivers/tag"
	"davy/rules"
)

// The shape of OPC UA: devices that speak by themselves decide and are driven
// like polled ones; silence is no news, and a subscription in doubt is bad.
func TestDevicesThatSpeakByThemselves(t *testing.T) {
	b := newBenchWith(t, nil, "gas", "io")
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.start()
		defer b.stop()
		b.after(time.Minute)
		if i := b.interlock(); i.State != rules.Armed || i.Degraded {
			t.Fatalf("after a minute without news: %v degraded=%v", i.State, i.Degraded)
		}
		if r := b.view().Image[b.id("d1.gas")]; !r.Quality.Good() {
			t.Fatalf("a value that did not change went bad: %v", r.Quality)
		}
		b.set(160, 170, 5)
		changed := time.Now()
		b.after(time.Second)
		w := b.written()
		if b.interlock().State != rules.Tripped || len(w) != 1 || !w[0].on {
			t.Fatalf("tripped=%v, writes %v", b.interlock().State, w)
		}
		if took := w[0].at.Sub(changed); took > 300*time.Millisecond {
			t.Errorf("fan commanded %v after the news", took)
		}
		b.gas.Behave(sim.Behaviour{Away: true})
		b.after(3 * time.Second)
		if r := b.view().Image[b.id("d1.gas")]; !r.Quality.Bad() {
			t.Errorf("the device is away, its last value is %v", r.Quality.Status())
		}
		b.gas.Behave(sim.Behaviour{})
		b.after(5 * time.Second)
		if r := b.view().Image[b.id("d1.gas")]; !r.Quality.Good() {
			t.Errorf("the device is back, its value is %v", r.Quality.Reason())
		}
	})
}

func (b *bench) id(name tag.Name) tag.ID {
	b.t.Helper()
	for _, x := range b.plan.Tags {
		if x.Name == name {
			return x.ID
		}
	}
	b.t.Fatalf("no tag %s", name)
	return 0
}
