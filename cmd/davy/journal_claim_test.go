package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/evidence"
	"davy/agent/export"
	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Of a journal whose first epochs were deleted in order, the file claims no more
// than is there, whatever time was asked for, and says so.
func TestEvidenceAfterWholeEpochs(t *testing.T) {
	r := newRecorded(t)
	r.o.Keep = time.Minute
	begun := r.now
	r.o.SegmentBytes = 64 << 10
	value := int64(1)
	for range 2 {
		r.open()
		for range 20 {
			readings := make([]tag.Reading, 2000)
			for k := range readings {
				r.now += int64(time.Millisecond)
				value *= 6364136223846793005 // no two alike, so that a segment fills up
				readings[k] = tag.Reading{Tag: 1, Value: tag.IntValue(value), Quality: tag.GoodQuality, Received: r.o.Now()}
			}
			r.must(r.j.Append(journal.Batch{Readings: readings}))
			for range 18 {
				r.events(wire.Event{Kind: 1, Note: strings.Repeat(time.Unix(0, value).String(), 20)})
			}
		}
		r.witness()
		c, err := r.j.Cursor("province")
		r.must(err)
		r.must(c.Confirm(&wire.Receipt{Version: wire.Version, Gateway: evidenceGateway, Epoch: r.j.Epoch(), Upto: r.j.Heads()}))
		r.must(r.j.Retain(true))
		r.close()
	}
	r.open()
	r.must(r.j.Retain(true)) // from here on time is lived through
	r.now += int64(time.Hour)
	r.record(2)
	r.must(r.j.Retain(true))
	r.record(2)
	r.witness()
	r.close()
	for _, from := range []int64{0, begun} {
		args := []string{"export", "--evidence", filepath.Join(t.TempDir(), "x.davy"), "--state", r.state, "--gateway", evidenceGateway, "--lang", "en"}
		if from != 0 {
			args = append(args, "--from", time.Unix(0, from).Format(time.RFC3339))
		}
		code, out, errs := r.davy(args...)
		if code != 0 || !strings.Contains(errs, "no earlier") {
			t.Errorf("from %d: exit %d %s%s", from, code, out, errs)
		}
		code, rep := r.verify(args[2], "--receiver", r.receiverKey())
		if code != 0 || rep.Claim.From <= begun || rep.Epochs[0].Parent == "" {
			t.Errorf("from %d: exit %d, %+v", from, code, rep)
		}
	}
}

// A stream of which nothing was recorded is no stream that was left out.
func TestEvidenceOfEmptyStreams(t *testing.T) {
	r := newRecorded(t)
	device := evidence.Fingerprint(r.device.Public().(ed25519.PublicKey))
	r.open()
	r.close()
	r.open()
	for range 30 {
		r.events(wire.Event{Kind: 1, Note: "alarm"})
	}
	middle := r.now
	for range 30 {
		r.events(wire.Event{Kind: 1, Note: "alarm"})
	}
	r.close()
	r.open()
	r.record(30)
	last := r.now
	r.record(30)
	r.close()
	r.open()
	r.close()
	at := func(wall int64) string { return time.Unix(0, wall).Format(time.RFC3339) }
	for _, args := range [][]string{
		nil,
		{"--from", at(middle)},
		{"--to", at(middle)},
		{"--from", at(middle), "--to", at(middle + 5e9)},
		{"--from", at(last)},
		{"--to", at(last)},
		{"--from", at(last - 200e9), "--to", at(last)},
		{"--epoch", hexOf(r.epochs[1])},
		{"--epoch", hexOf(r.epochs[2])},
		{"--epoch", hexOf(r.epochs[2]), "--from", at(last)},
		{"--streams", "reading"},
		{"--streams", "event"},
		{"--streams", "event", "--from", at(last)},
		{"--streams", "health", "--to", at(last)},
		{"--streams", "event,reading,health", "--to", at(last)},
	} {
		code, rep := r.verify(r.export(args...), "--device", device)
		if code != 0 {
			t.Errorf("%v: exit %d, %+v", args, code, wrongOf(rep))
		}
		var told []export.Finding
		for _, f := range rep.Findings {
			if f.Told {
				told = append(told, f)
			}
		}
		t.Logf("%v: %+v", args, told)
	}
}

// What was lost with a damaged file is named, and is no reason to claim less:
// what is older stays claimed, and shown.
func TestEvidenceAfterQuarantine(t *testing.T) {
	r := newRecorded(t)
	device := evidence.Fingerprint(r.device.Public().(ed25519.PublicKey))
	r.o.SegmentBytes = 64 << 10
	value := int64(1)
	for range 3 {
		r.open()
		for range 12 {
			readings := make([]tag.Reading, 2000)
			for k := range readings {
				r.now += int64(time.Millisecond)
				value *= 6364136223846793005
				readings[k] = tag.Reading{Tag: 1, Value: tag.IntValue(value), Quality: tag.GoodQuality, Received: r.o.Now()}
			}
			r.must(r.j.Append(journal.Batch{Readings: readings}))
		}
		r.events(wire.Event{Kind: 1, Note: "alarm"})
		r.witness()
		r.close()
	}
	path := filepath.Join(journalDir(r.state), "reading-00000001.seg")
	b, err := os.ReadFile(path)
	r.must(err)
	for i := 3 * 4096; i < len(b); i += 512 {
		b[i] ^= 0xff
	}
	r.must(os.WriteFile(path, b, 0o600))
	r.open()
	r.record(3)
	r.close()
	code, rep := r.verify(r.export(), "--device", device)
	if code != 0 || rep.Claim.From != 0 || rep.Readings >= 3*24000 || len(rep.Findings) == 0 {
		t.Errorf("exit %d: claims from %d, %d readings: %+v", code, rep.Claim.From, rep.Readings, rep.Findings)
	}
	file := r.export()
	for _, lang := range []string{"en", "zh"} {
		_, out, _ := r.davy("verify", file, "--device", device, "--lang", lang)
		t.Log(out)
	}
}

// A file that somebody made cannot write over what is said of it.
func TestVerifySaysOneLineOfAStrangersText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.davy")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const bad = "x\n\x1b[2J\u202ewhole: 7 records\x1b[8m"
	w := export.NewWriter(f, export.Claim{Gateway: bad, Maker: bad, Streams: []string{bad}, Epochs: []string{bad}}, nil)
	w.Epoch(wire.Epoch{1})
	w.EndEpoch([]export.Range{{Stream: bad, From: 1, To: 2}})
	if err := errors.Join(w.Close([]string{bad}), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"en", "zh"} {
		var out, errs bytes.Buffer
		code := program().Main([]string{"journal", "verify", path, "--lang", lang}, &out, &errs)
		if s := out.String() + errs.String(); code != 1 || strings.ContainsAny(s, "\x1b\u202e") || strings.Contains(s, "\nwhole") || !strings.Contains(s, "whole: 7 records") {
			t.Errorf("exit %d: %q", code, s)
		}
	}
}
