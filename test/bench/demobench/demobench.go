// Package demobench takes what the agent costs while the bench plant runs
// steadily and its records reach a receiver: memory, processor and disk of
// decider, keeper and the child of the plant's OPC UA link together, for Steady,
// after Settle.
//
// rss.demo_mb is the anonymous proportional share of all processes, the
// largest of all samples; the sum is of one instant. Processor time and the
// bytes that go to the disk, which are what wears a card out, are the kernel's
// books over the same stretch; records are the heads of the journal's streams.
//
// Imports: agent/operate, test/bench/figure, test/bench/stand, test/rig.
package demobench

import (
	"fmt"
	"io"
	"time"

	"davy/agent/operate"
	"davy/test/bench/figure"
	"davy/test/bench/stand"
	"davy/test/rig"
)

const (
	Settle = 5 * time.Second
	Steady = 60 * time.Second

	processes = 3 // decider, keeper, the child of the OPC UA link

	name   = "rss.demo_mb"
	mostMB = 40
	every  = 500 * time.Millisecond
)

// Run prints the figures and reports whether they hold.
func Run(w io.Writer) bool {
	s, err := measure()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	holds := figure.Print(w, name, float64(s.most)/1e6, "MB", mostMB)
	fmt.Fprintf(w, "  %s: decider %.3g MB, children", name, float64(s.parts[0])/1e6)
	for _, n := range s.parts[1:] {
		fmt.Fprintf(w, " %.3g MB", float64(n)/1e6)
	}
	fmt.Fprintf(w, " at that instant, %d samples\n", s.samples)
	hours := s.took.Hours()
	figure.Print(w, "cpu.demo_percent", 100*s.cpu.Seconds()/s.took.Seconds(), "%")
	figure.Print(w, "disk.demo_mb_per_hour", float64(s.written)/1e6/hours, "MB/h")
	figure.Print(w, "disk.demo_records_per_hour", float64(s.records)/hours, "records/h")
	return holds
}

type cost struct {
	most    int64
	parts   []int64
	samples int
	took    time.Duration
	cpu     time.Duration
	written int64
	records uint64
}

func measure() (c cost, err error) {
	bin, err := stand.Build("davy", "davy-plant", "davy-receiver")
	if err != nil {
		return c, err
	}
	r, err := rig.New(bin)
	if err != nil {
		return c, err
	}
	defer r.Close()
	b := &rig.Bench{Rig: r}
	for _, f := range []func() error{
		func() error { return b.StartPlant() }, func() error { return b.StartReceiver("") }, func() error { return b.WriteSite(nil) },
		b.Enroll, func() error { return b.Apply("bench") }, b.StartDavy,
	} {
		if err := f(); err != nil {
			return c, err
		}
	}
	if err := b.See(30*time.Second, "watching, and receipts come", confirmed); err != nil {
		return c, err
	}
	<-time.After(Settle)
	family := stand.Family(b.Davy.Pid())
	if len(family) != processes {
		return c, fmt.Errorf("the agent is %d processes, not %d", len(family), processes)
	}
	before, err := stand.Used(family)
	if err != nil {
		return c, err
	}
	recorded, err := heads(b)
	if err != nil {
		return c, err
	}
	began := time.Now()
	for time.Since(began) < Steady {
		parts := make([]int64, len(family))
		var sum int64
		for i, pid := range family {
			if parts[i], err = stand.Share([]int{pid}); err != nil {
				return c, err
			}
			sum += parts[i]
		}
		if c.samples++; sum > c.most {
			c.most, c.parts = sum, parts
		}
		<-time.After(every)
	}
	c.took = time.Since(began)
	after, err := stand.Used(family)
	if err != nil {
		return c, err
	}
	now, err := heads(b)
	if err != nil {
		return c, err
	}
	c.cpu, c.written, c.records = after.CPU-before.CPU, after.Written-before.Written, now-recorded
	return c, nil
}

func confirmed(v *operate.View) bool {
	return rig.Watching(v) && len(v.Keeper.Uplinks) == 1 && v.Keeper.Uplinks[0].Connected && !v.Keeper.Uplinks[0].LastReceipt.IsZero()
}

// heads is how many records there are, of all streams, while all are confirmed soon.
func heads(b *rig.Bench) (n uint64, err error) {
	v, err := b.View(operate.Status)
	if err != nil {
		return 0, err
	}
	if !confirmed(v) {
		return 0, fmt.Errorf("no receipts come")
	}
	for _, h := range v.Keeper.Heads {
		n += h.Number
	}
	return n, nil
}
