package keep

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/ring"
)

// poke asks for a status soon.
func (k *keeper) poke() {
	select {
	case k.news <- struct{}{}:
	default:
	}
}

// tell sends a status at once, then each second and when more is durable, and
// a last one when ctx ends.
func (k *keeper) tell(ctx context.Context) error {
	tick := time.NewTicker(StatusEvery)
	defer tick.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		var durable <-chan struct{}
		if o := k.open.Load(); o != nil {
			durable = o.rec.Changed() // before looking, so that nothing is missed
		}
		if err := k.r.Send(k.status()); err != nil {
			if gone(err) {
				return nil // the decider's end is for listen to find
			}
			return err
		}
		pace.Reset(StatusLeast)
		select {
		case <-ctx.Done():
		case <-pace.C:
		}
		select {
		case <-ctx.Done():
			if err := k.r.Send(k.status()); err != nil && !gone(err) {
				return err
			}
			return nil
		case <-tick.C:
		case <-durable:
		case <-k.news:
		}
	}
}

// gone reports whether an error says that the other end is closed.
func gone(err error) bool {
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// status puts together how the keeper is. It waits for no disk.
func (k *keeper) status() ring.Status {
	now := k.o.Now()
	conditions := map[string]bool{}
	o := k.open.Load()
	if o == nil {
		if now.Mono-k.began > int64(OpenStopped) {
			conditions["record.stopped"] = true
		}
		return ring.Status{Conditions: sorted(conditions)}
	}
	st, rec := o.j.Stat(), o.rec.State()
	s := ring.Status{Durable: rec.Durable, Epoch: st.Epoch, Bytes: st.Bytes, MaxBytes: st.MaxBytes}
	conditions["record.stopped"] = rec.Stopped
	conditions["record.lost"] = rec.Lost
	conditions["journal.damaged"] = st.Quarantined > 0 || st.Broken > 0
	var floor map[string]uint64
	backlog := map[string]uint64{}
	for _, d := range k.uplinks {
		u := k.destination(o.j, d, now.Mono)
		s.Uplinks = append(s.Uplinks, u)
		conditions[config.ConditionCode("uplink.*.offline", d.name)] = !u.Connected
		conditions[config.ConditionCode("uplink.*.no-receipt", d.name)] = u.Connected && d.waiting != 0 && now.Mono-d.waiting > int64(NoReceipt)
		c := o.j.Placed(d.name)
		if c == nil || !d.must {
			continue
		}
		if floor == nil {
			floor = map[string]uint64{}
		}
		for _, b := range c.Backlog() {
			backlog[b.Stream] = max(backlog[b.Stream], b.Records)
			n := c.Confirmed(st.Epoch, b.Stream)
			if was, ok := floor[b.Stream]; !ok || n < was {
				floor[b.Stream] = n
			}
		}
	}
	for _, h := range st.Heads {
		s.Heads = append(s.Heads, ring.Head{Stream: h.Stream, Number: h.Number, Receipted: floor[h.Stream], Backlog: backlog[h.Stream]})
	}
	conditions["journal.nearly-full"] = rec.Full || len(floor) > 0 && o.j.Unconfirmed() > st.MaxBytes/100*NearlyFull
	s.Conditions = sorted(conditions)
	return s
}

func sorted(standing map[string]bool) []string {
	maps.DeleteFunc(standing, func(_ string, on bool) bool { return !on })
	return slices.Sorted(maps.Keys(standing))
}

// destination returns how an uplink is, and keeps since when it waits for a receipt.
func (k *keeper) destination(j *journal.Journal, d *destination, mono int64) ring.UplinkStatus {
	s := ring.UplinkStatus{Name: d.name}
	if c := j.Placed(d.name); c != nil {
		for _, b := range c.Backlog() {
			s.Backlog += b.Records
		}
	}
	u := d.status()
	s.Connected, s.LastReceipt, s.Error, s.Unproved = u.Connected, u.LastReceipt, u.Error, d.oneWay || d.fed.Load() != nil
	if u.Witnesses {
		s.Witness = witnessOf(u.Witness, u.Log)
	}
	switch {
	case s.Backlog == 0 || u.LastReceipt != d.receipt:
		d.waiting, d.receipt = 0, u.LastReceipt
	case d.waiting == 0:
		d.waiting = mono
	}
	s.Cause = d.cause(&s, mono)
	return s
}

// report is what a health record says.
func (k *keeper) report(j *journal.Journal) map[string]any {
	st := j.Stat()
	heads, backlog := map[string]uint64{}, map[string]uint64{}
	for _, h := range st.Heads {
		heads[h.Stream] = h.Number
	}
	for _, d := range k.uplinks {
		if c := j.Placed(d.name); c != nil {
			for _, b := range c.Backlog() {
				backlog[d.name] += b.Records
			}
		}
	}
	return map[string]any{
		"heads": heads, "backlog": backlog, "journal_bytes": st.Bytes, "journal_max": st.MaxBytes, "segments": st.Segments,
		"quarantined": st.Quarantined, "commits": st.Commits, "commit_ms": st.LastCommit.Milliseconds(), "gaps": st.Gaps, "keeper_rss": resident(),
	}
}

// resident returns the memory of this process in bytes, 0 if nobody says.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ := strconv.ParseInt(f[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}
