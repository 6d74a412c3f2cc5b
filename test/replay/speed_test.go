package replay

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"davy/agent/journal"
	"davy/agent/replay"
	"davy/agent/replay/history"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// BenchmarkReplay says how many readings a second go through both engines, of 500
// tags at 1 s with 500 alarms, from a journal on disk.
func BenchmarkReplay(b *testing.B) {
	const tags, seconds = 500, 600
	var site, ruleFile strings.Builder
	site.WriteString("davy: 1\ngateway: {id: GW-1, name: {zh: 站, en: Site}, time_zone: Asia/Shanghai}\nlinks:\n  plc: {sim: plc}\ndevices:\n  d:\n    link: plc\n    tags:\n")
	ruleFile.WriteString("alarms:\n")
	for i := range tags {
		fmt.Fprintf(&site, "      t%d: {at: a%d, type: float32, range: 0 to 100 °C, record: every 1s}\n", i, i)
		fmt.Fprintf(&ruleFile, "  t%d: {watch: d.t%d, high: {at: 95 °C, priority: low, text: {zh: 高, en: High}}, deadband: 1 °C, raise_after: 5s}\n", i, i)
	}
	plan := compile(b, site.String(), ruleFile.String())
	dir := b.TempDir()
	at := func(mono int64) tag.Stamp { return tag.Stamp{Wall: 1_800_000_000e9 + mono, Mono: mono} }
	now := boot0
	j, err := journal.Open(journal.Options{Dir: dir, Gateway: "GW-1", Now: func() tag.Stamp { return at(now) }, Boot: "b", Plan: plan.Hash[:]})
	if err != nil {
		b.Fatal(err)
	}
	table := &wire.Table{Plan: plan.Hash[:]}
	for _, t := range plan.Tags[1:] {
		table.Tags = append(table.Tags, wire.TableTag{ID: t.ID, Name: string(t.Name), Unit: t.Unit, Kind: t.Kind})
	}
	if err := j.Append(journal.Batch{Events: []wire.Event{{Kind: uint32(ring.TagTable), At: at(now), Table: table}, {Kind: uint32(ring.AgentStarted), At: at(now), Serial: 1}}}); err != nil {
		b.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, tags)
	for i := range values {
		values[i] = 50
	}
	var batch []tag.Reading
	for s := range seconds {
		now += 1e9
		for i := range values {
			values[i] += dice.NormFloat64() - (values[i]-50)/100
			v, _ := tag.Float32Value(float32(values[i]))
			batch = append(batch, tag.Reading{Tag: tag.ID(i + 1), Quality: tag.GoodQuality, Value: v, Received: at(now + int64(i/20)*1e6)})
		}
		if s%5 == 4 {
			if err := j.Append(journal.Batch{Readings: batch}); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	var after runtime.MemStats
	for b.Loop() {
		r, err := journal.OpenReadOnly(dir)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		rep, err := replay.Run(replay.Options{Present: plan, New: plan, Source: history.OfJournal(r)})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if rep.Readings != tags*seconds {
			b.Fatal(rep.Readings)
		}
		b.ReportMetric(float64(rep.Readings)/took.Seconds(), "readings/s")
		b.ReportMetric(float64(after.HeapSys)/(1<<20), "heapsys-MB")
		r.Close()
	}
}
