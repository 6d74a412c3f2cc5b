package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/test/rig"
)

// What the bench plant's site calls things (firmware-configs/plants/bench).
const (
	trip     = "NH3-150"
	fan      = "fan1"
	siren    = "siren1"
	deadUnit = "nh3-3"
	deadTag  = "nh3-3.gas"
)

// play is the story. Shares of the time are the same however long it takes.
func (d *demo) play() error {
	if err := d.start(); err != nil {
		return err
	}
	b := d.bench
	d.began = time.Now()
	d.say("normal", i18n.Args{"tags": d.tags()})

	d.until(0.06)
	if err := b.Send("dead " + deadUnit); err != nil {
		return err
	}
	d.say("dead", nil)
	d.expect(20*time.Second, "not-watched", i18n.Args{"tag": deadTag}, func(v *operate.View) bool { return alarm(v, deadTag+".not-watched").State == operate.Unacked })
	d.expect(20*time.Second, "degraded", i18n.Args{"rule": trip}, func(v *operate.View) bool { return rig.Interlock(v, trip).Degraded })

	d.until(0.30)
	d.proxy.Cut(true)
	d.say("cut", nil)

	d.until(0.36)
	if err := b.Send("leak start 40"); err != nil {
		return err
	}
	d.say("leak", nil)
	d.expect(d.total/2, "level1", nil, func(v *operate.View) bool { return alarm(v, "nh3-1.level-1.high").Name != "" || gasAlarm(v) })
	v := d.expect(d.total/2, "tripped", i18n.Args{"rule": trip}, func(v *operate.View) bool { return rig.Interlock(v, trip).State == operate.Tripped })
	if v != nil {
		d.say("first-out", i18n.Args{"channel": rig.Interlock(v, trip).FirstOut})
	}
	d.expect(d.total/2, "fan", nil, func(v *operate.View) bool {
		f, s := rig.Output(v, fan), rig.Output(v, siren)
		return f.Demand == operate.Protective && f.Confirmed && s.Demand == operate.Protective && s.Confirmed
	})

	d.until(0.58)
	b.Davy.Kill()
	d.say("killed", nil)
	if err := b.StartDavy(); err != nil {
		return err
	}
	d.expect(20*time.Second, "restarted", nil, func(v *operate.View) bool {
		return rig.Watching(v) && rig.Interlock(v, trip).State == operate.Tripped && rig.Output(v, fan).Demand == operate.Protective
	})

	d.until(0.66)
	d.proxy.Cut(false)
	if err := b.Send("leak stop"); err != nil {
		return err
	}
	if err := b.Send("alive " + deadUnit); err != nil {
		return err
	}
	v = d.see()
	backlog := uint64(0)
	if v != nil {
		backlog = v.Keeper.Backlog
	}
	d.say("returns", i18n.Args{"backlog": backlog})
	d.expect(d.total, "drained", nil, func(v *operate.View) bool {
		for _, u := range v.Keeper.Uplinks {
			if !u.Connected {
				return false
			}
		}
		for _, h := range v.Keeper.Heads {
			if h.Stream == "event" && h.Backlog > 0 {
				return false
			}
		}
		return v.Keeper.State == operate.KeeperRunning
	})

	d.until(0.80)
	if err := d.ackAll(); err != nil {
		return err
	}
	d.say("acked", nil)
	d.expect(d.total, "reset-ready", nil, func(v *operate.View) bool { return rig.Interlock(v, trip).ResetReady })
	if v := d.see(); v != nil {
		i := rig.Interlock(v, trip)
		if _, err := b.Output("davy", "reset", trip, fmt.Sprint(i.Occurrence), "--state", b.State(), "--note", "demo"); err != nil {
			d.held = false
			d.say("not-held", i18n.Args{"what": "reset", "error": err})
		}
	}
	d.expect(10*time.Second, "reset", nil, func(v *operate.View) bool {
		return rig.Interlock(v, trip).State == operate.Armed && rig.Output(v, fan).Demand == operate.Idling && rig.Output(v, fan).Confirmed
	})
	if err := b.Send("mark reset"); err != nil {
		return err
	}
	d.until(0.97)
	if err := b.Davy.Stop(20 * time.Second); err != nil {
		d.held = false
		d.say("not-held", i18n.Args{"what": "stop", "error": err})
	}
	d.say("stopped", nil)
	return nil
}

// start brings up the bench: plant, receiver, a link that can be cut, agent.
func (d *demo) start() error {
	bin := os.Getenv("DEMO_BIN")
	if bin == "" {
		bin = filepath.Join(rig.Root(), "bin", "demo")
		d.say("building", nil)
		if err := rig.Build(bin, "davy", "davy-plant", "davy-receiver"); err != nil {
			return err
		}
	}
	r, err := rig.New(bin)
	if err != nil {
		return err
	}
	b := &rig.Bench{Rig: r}
	d.bench = b
	if err := b.StartPlant("--speed", fmt.Sprintf("%.2f", max(1, 180/d.total.Seconds()))); err != nil {
		return err
	}
	var args []string
	if d.fault != "" {
		args = append(args, "--fault", d.fault)
	}
	if err := b.StartReceiver("", args...); err != nil {
		return err
	}
	if d.proxy, err = rig.NewProxy(b.Broker); err != nil {
		return err
	}
	b.Uplink = d.proxy.Addr
	if err := b.WriteSite(nil); err != nil {
		return err
	}
	if err := b.Enroll(); err != nil {
		return err
	}
	if err := b.Apply("demo"); err != nil {
		return err
	}
	if err := b.StartDavy(); err != nil {
		return err
	}
	return b.See(30*time.Second, "watching", func(v *operate.View) bool {
		return rig.Watching(v) && len(v.Keeper.Uplinks) > 0 && v.Keeper.Uplinks[0].Connected
	})
}

func (d *demo) see() *operate.View {
	v, err := d.bench.View(operate.Status)
	if err != nil {
		return nil
	}
	return v
}

func (d *demo) tags() int {
	if v := d.see(); v != nil {
		return v.Tags.Total
	}
	return 0
}

// ackAll acknowledges what stands, each by its name and number.
func (d *demo) ackAll() error {
	v := d.see()
	if v == nil {
		return fmt.Errorf("the agent does not answer")
	}
	for _, a := range v.Alarms {
		if !a.State.Wanted() {
			continue
		}
		// An alarm may have been raised again meanwhile: then its number is another one, and it stays.
		_, _ = d.bench.Output("davy", "ack", a.Name, fmt.Sprint(a.Occurrence), "--state", d.bench.State(), "--note", "demo")
	}
	return nil
}

func alarm(v *operate.View, name string) operate.Alarm {
	for _, a := range v.Alarms {
		if a.Name == name {
			return a
		}
	}
	return operate.Alarm{}
}

// gasAlarm reports whether a process alarm of a detector stands.
func gasAlarm(v *operate.View) bool {
	for _, a := range v.Alarms {
		if !a.NotWatched && !a.Agent && a.Limit != nil && len(a.Tag) > 4 && a.Tag[:4] == "nh3-" {
			return true
		}
	}
	return false
}
