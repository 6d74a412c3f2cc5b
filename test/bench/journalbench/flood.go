package journalbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"davy/agent/clock"
	"davy/agent/config"
	"davy/agent/journal"
	"davy/agent/record"
	"davy/agent/ring"
	"davy/rules"
	"davy/test/bench/figure"
	"davy/test/rig"
)

const (
	floodLasts = 10 * time.Second
	floodEvery = 10 * time.Millisecond // an alarm comes this often
	few, many  = 20, 220               // commits of two runs under strace
	committer  = "davy/test/bench/journalbench/committer"
)

// Flood counts transactions while alarms come without a pause, and reports whether the figure holds.
func Flood(w io.Writer) bool {
	perSecond, events, err := commits()
	if err != nil {
		return figure.Failed(w, nameFlood, err)
	}
	holds := figure.Print(w, nameFlood, perSecond, "1/s", mostFlood)
	fmt.Fprintf(w, "  %s: %d events became durable meanwhile\n", nameFlood, events)
	return holds
}

func commits() (perSecond float64, events uint64, err error) {
	dir, err := os.MkdirTemp("", "journalbench")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	plan := &config.Plan{Journal: config.Journal{Sync: syncEvery, Keep: time.Hour, MaxBytes: 64 << 20}, Tags: []config.Tag{{}}}
	j, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), Gateway: "BENCH-1", Sync: syncEvery, Now: clock.Now, Boot: "bench"})
	if err != nil {
		return 0, 0, err
	}
	line := [16]byte{1}
	r := record.New(record.Options{Journal: j, Plan: plan, Lineage: line, Now: clock.Now})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()

	ticks := time.NewTicker(floodEvery)
	defer ticks.Stop()
	serial := uint64(0)
	alarm := func() {
		serial++
		now := clock.Now()
		r.Take(&ring.Turn{Now: now, Events: []ring.Event{{Serial: serial, Event: rules.Event{Kind: rules.AlarmRaised, At: now, Rule: "NH3-150", Occurrence: serial, Priority: 4}}}})
	}
	for j.Serial(line) == 0 { // the first of all: table, start
		alarm()
		<-ticks.C
	}
	before, had, began := j.Stat(), j.Serial(line), time.Now()
	for time.Since(began) < floodLasts {
		alarm()
		<-ticks.C
	}
	after, took := j.Stat(), time.Since(began)
	events = j.Serial(line) - had
	cancel()
	return float64(after.Commits-before.Commits) / took.Seconds(), events, errors.Join(<-done, j.Close())
}

// Syncs counts what the kernel was asked to put on the disk for one event, and reports whether the figure holds.
func Syncs(w io.Writer) bool {
	each, err := traced()
	if err != nil {
		return figure.Failed(w, nameSyncs, err)
	}
	return figure.Print(w, nameSyncs, each, "calls", mostSyncs)
}

func traced() (each float64, err error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return 0, err
	}
	bin := filepath.Join(rig.Root(), ".cache", "bench", "committer")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, committer)
	cmd.Dir = rig.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build %s: %w: %s", committer, err, out)
	}
	count := func(n int) (calls int, err error) {
		dir, err := os.MkdirTemp("", "journalbench")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		trace := filepath.Join(dir, "trace")
		cmd := exec.Command(strace, "-f", "-qq", "-o", trace, "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync",
			bin, filepath.Join(dir, "journal"), fmt.Sprint(n))
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("strace: %w: %s", err, out)
		}
		raw, err := os.ReadFile(trace)
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, "sync") && !strings.Contains(line, "resumed>") {
				calls++
			}
		}
		return calls, err
	}
	a, err := count(few)
	if err != nil {
		return 0, err
	}
	b, err := count(many)
	return float64(b-a) / (many - few), err
}
