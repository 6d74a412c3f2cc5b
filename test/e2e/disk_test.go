package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"davy/agent/operate"
	"davy/cmd/davy-plant/logbook"
	"davy/test/rig"
)

// With the journal's disk full, read-only, and so slow that every operation
// takes two seconds, deciding and acting go on at their pace; what happened
// meanwhile is recorded when the disk is well again.
func TestDecidingDoesNotNeedTheDisk(t *testing.T) {
	for _, fault := range []string{"full", "readonly", "delay:2s"} {
		t.Run(fault, func(t *testing.T) {
			g, err := rig.New(faulty)
			must(t, err)
			b := &rig.Bench{Rig: g}
			stall := rig.WatchStall(t.Context())
			defer b.Close()
			disk := b.Path("disk")
			b.Env = append(b.Env, "DAVY_FAULT_DISK=@"+disk)
			must(t, b.StartPlant())
			must(t, b.StartReceiver(""))
			must(t, b.WriteSite(nil))
			must(t, b.Enroll())
			must(t, b.Apply("disk"))
			must(t, b.StartDavy())
			must(t, b.See(30*time.Second, "watching and recording", func(v *operate.View) bool {
				return rig.Watching(v) && v.Keeper.State == operate.KeeperRunning
			}))
			must(t, os.WriteFile(disk, []byte(fault), 0o600))
			const trips = 3
			for i := range trips {
				must(t, b.Send("step 180"))
				must(t, b.See(30*time.Second, "tripped and driven", func(v *operate.View) bool {
					return rig.Interlock(v, "NH3-150").State == operate.Tripped && rig.Output(v, "fan1").Confirmed
				}))
				must(t, b.Send("step 5"))
				must(t, b.See(30*time.Second, "ready to be reset", func(v *operate.View) bool { return rig.Interlock(v, "NH3-150").ResetReady }))
				_, err := b.Output("davy", "reset", "NH3-150", fmt.Sprint(i+1), "--state", b.State())
				must(t, err)
				must(t, b.See(30*time.Second, "reset and released", func(v *operate.View) bool {
					return rig.Interlock(v, "NH3-150").State == operate.Armed && rig.Output(v, "fan1").State == "stop"
				}))
			}
			v, err := b.View(operate.Status)
			must(t, err)
			if v.Longest > 1500+stall.Longest().Seconds()*1000 { // waiting for the disk would show as 2000
				t.Errorf("longest time between two turns %.0f ms: the loop waited for the disk", v.Longest)
			}
			must(t, os.Remove(disk))
			must(t, b.See(60*time.Second, "all events are recorded and receipted", func(v *operate.View) bool {
				return v.Keeper.State == operate.KeeperRunning && v.Keeper.Events == 0 && v.Keeper.Backlog < 30
			}))
			must(t, b.Davy.Stop(20*time.Second))
			totals, err := b.Totals()
			must(t, err)
			if totals.Trips != trips {
				t.Errorf("%d trips at the receiver, %d happened", totals.Trips, trips)
			}
			book, err := b.PlantBook()
			must(t, err)
			pace(t, book, trips, stall.Longest())
		})
	}
}

// pace holds every trip of the plant's log to the worst response that `davy
// check` prints for it, and to what the machine itself was away at most.
func pace(t *testing.T, book []logbook.Entry, trips int, away time.Duration) {
	t.Helper()
	const worst = 900 * time.Millisecond
	both := logbook.Together(2, logbook.Above(book, "nh3-1.gas", 150, 150), logbook.Above(book, "nh3-2.gas", 150, 150), logbook.Above(book, "nh3-3.gas", 150, 150))
	if len(both) != trips {
		t.Fatalf("the plant saw %d steps, %d were meant", len(both), trips)
	}
	for i, s := range both {
		w := logbook.Written(book, 20, 0, true, s.From)
		if len(w) == 0 {
			t.Fatalf("trip %d: the fan was not commanded", i)
		}
		took := time.Duration(w[0].Mono - s.From)
		t.Logf("trip %d: register changed, coil written %v later; the machine was away for %v at most", i, took, away)
		if took > worst+away {
			t.Errorf("trip %d took %v, davy check prints %v at worst", i, took, worst)
		}
	}
}
