package year

import (
	"os"
	"strconv"
	"testing"
	"time"

	"davy/agent/config"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/opcua"
	"davy/test/rig"
	"davy/test/scale"
)

// plant compiles a plant of firmware-configs.
func plant(t *testing.T, name string) *config.Plan {
	t.Helper()
	plan, err := rig.Plan(name, drivers.Set{"modbus-tcp": modbus.TCP{}, "modbus-rtu": modbus.RTU{}, "opcua": opcua.Driver{}})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func tagsOf(p *config.Plan) []Tag {
	tags := make([]Tag, len(p.Tags))
	for i, x := range p.Tags {
		tags[i] = Tag{Kind: x.Kind, Ranged: x.Ranged, Low: x.Low, High: x.High, Computed: len(x.Of) > 0}
	}
	return tags
}

// seeds returns n seeds from 0 on, or the one that YEAR_SEED names.
func seeds(t *testing.T, n int) (all []uint64) {
	t.Helper()
	if one := os.Getenv("YEAR_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	for seed := range uint64(n) {
		all = append(all, seed)
	}
	return all
}

func hours(n int) time.Duration { return time.Duration(scale.Of(n)) * time.Hour }

// The cold store as it is declared: a day at scale 1, a year at 365.
func TestYear(t *testing.T) {
	p := plant(t, "ammonia-cold-store")
	for _, seed := range seeds(t, 2) {
		began := time.Now()
		tally, err := Run(Options{Seed: seed, Span: hours(24), Set: p.Rules, Tags: tagsOf(p)})
		if err != nil {
			t.Errorf("YEAR_SEED=%d repeats it: %v", seed, err)
		}
		t.Logf("year: seed %d in %v: %+v", seed, time.Since(began).Round(time.Second/10), tally)
	}
}

// The same rules, and those of the bench, under other options.
func TestVaried(t *testing.T) {
	store, bench := plant(t, "ammonia-cold-store"), plant(t, "bench")
	for _, seed := range seeds(t, scale.Of(4)) {
		p := store
		if seed%3 > 0 { // it has fewer rules, each of them moved the more
			p = bench
		}
		if tally, err := Run(Options{Seed: seed, Span: min(hours(36), 96*time.Hour), Set: Vary(p.Rules, tagsOf(p), seed), Tags: tagsOf(p)}); err != nil {
			t.Errorf("YEAR_SEED=%d repeats it: %v", seed, err)
		} else if tally.Events < 20 {
			t.Errorf("seed %d: hardly anything happened: %+v", seed, tally)
		}
	}
}
