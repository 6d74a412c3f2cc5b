package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"davy/agent/evidence"
	"davy/agent/export"
	"davy/agent/journal"
	"davy/agent/merkle"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// recorded is a state directory with a journal of several epochs, signed by a
// device and witnessed by a receiver.
type recorded struct {
	t        *testing.T
	state    string
	now      int64
	o        journal.Options
	receiver ed25519.PrivateKey
	device   ed25519.PrivateKey
	j        *journal.Journal
	epochs   []wire.Epoch
}

const evidenceGateway = "GW 1/冷库"

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	r := &recorded{t: t, state: t.TempDir(), now: 1_700_000_000e9, receiver: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))}
	var err error
	if r.device, err = evidence.LoadOrCreateKey(keyDir(r.state)); err != nil {
		t.Fatal(err)
	}
	r.o = journal.Options{
		Dir: journalDir(r.state), Gateway: evidenceGateway, SegmentBytes: 256 << 10, MustConfirm: []string{"province"},
		Now: func() tag.Stamp { return tag.Stamp{Wall: r.now, Mono: r.now} },
		Sign: func(id wire.Epoch, size uint64, root merkle.Hash) ([]byte, error) {
			c := &evidence.Checkpoint{Gateway: evidenceGateway, Epoch: id, Size: size, Root: root, At: tag.Stamp{Wall: r.now, Mono: r.now}, Trusted: true}
			return c.Sign(r.device)
		},
	}
	return r
}

func (r *recorded) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *recorded) open() {
	r.t.Helper()
	j, err := journal.Open(r.o)
	r.must(err)
	r.j = j
	r.epochs = append(r.epochs, j.Epoch())
	r.events(wire.Event{Kind: uint32(ring.TagTable), Table: &wire.Table{Tags: []wire.TableTag{{ID: 1, Name: "nh3.gas"}}}})
}

func (r *recorded) events(events ...wire.Event) {
	r.t.Helper()
	for i := range events {
		r.now += int64(time.Second)
		events[i].At = r.o.Now()
	}
	r.must(r.j.Append(journal.Batch{Events: events}))
}

// record appends n batches of readings, with an event now and then.
func (r *recorded) record(n int) {
	r.t.Helper()
	for i := range n {
		readings := make([]tag.Reading, 20)
		for k := range readings {
			r.now += int64(time.Second)
			readings[k] = tag.Reading{Tag: 1, Value: tag.IntValue(r.now / 1e9 * 7919 % 1000), Quality: tag.GoodQuality, Received: r.o.Now()}
		}
		r.must(r.j.Append(journal.Batch{Readings: readings}))
		if i%10 == 9 {
			r.events(wire.Event{Kind: 1, Note: "alarm"})
		}
	}
}

// witness has the receiver cosign all that is there.
func (r *recorded) witness() {
	r.t.Helper()
	id := r.j.Epoch()
	size, root, err := r.j.LogHead(id)
	r.must(err)
	note, err := r.o.Sign(id, size, root)
	r.must(err)
	note, err = evidence.Cosign(note, "province", r.receiver, r.now)
	r.must(err)
	r.must(r.j.SetWitness(id, "province", journal.Witness{Size: size, Root: root, Wall: r.now, Note: note}))
}

func (r *recorded) close() {
	r.t.Helper()
	r.must(r.j.Close())
	r.now += int64(time.Hour)
}

// davy runs a command and returns what it said.
func (r *recorded) davy(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = program().Main(append([]string{"journal"}, args...), &o, &e)
	return code, o.String(), e.String()
}

func (r *recorded) receiverKey() string {
	return "ed25519:" + base64.StdEncoding.EncodeToString(r.receiver.Public().(ed25519.PublicKey))
}

// export writes an evidence file with more arguments.
func (r *recorded) export(args ...string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "x.davy")
	code, out, errs := r.davy(append([]string{"export", "--evidence", path, "--state", r.state, "--gateway", evidenceGateway, "--lang", "en"}, args...)...)
	if code != 0 {
		r.t.Fatalf("export: exit %d: %s%s", code, out, errs)
	}
	return path
}

func (r *recorded) verify(path string, args ...string) (int, *export.Report) {
	r.t.Helper()
	code, out, errs := r.davy(append([]string{"verify", path, "--json"}, args...)...)
	rep := &export.Report{}
	if err := json.Unmarshal([]byte(out), rep); err != nil {
		r.t.Fatalf("%v: %s%s", err, out, errs)
	}
	return code, rep
}

func wrongOf(rep *export.Report) (out []export.Finding) {
	for _, f := range rep.Findings {
		if !f.Told {
			out = append(out, f)
		}
	}
	return out
}

// What a journal holds goes into a file that a stranger finds whole with the
// receiver's public key, and with no other.
func TestEvidence(t *testing.T) {
	r := newRecorded(t)
	for range 3 {
		r.open()
		r.record(20)
		r.witness()
		r.record(5)
		r.close()
	}
	path := r.export()
	code, rep := r.verify(path, "--receiver", r.receiverKey())
	if code != 0 || !rep.Whole || len(rep.Epochs) != 3 || rep.Readings != 3*25*20 {
		t.Fatalf("exit %d: %+v", code, rep)
	}
	for i, e := range rep.Epochs {
		if e.Witnessed == nil || e.Signed == nil || int64(e.Signed.Size) != e.Leaves || e.HashOnly != 0 {
			t.Errorf("epoch %d: %+v", i, e)
		}
	}
	for _, lang := range []string{"en", "zh"} {
		_, out, _ := r.davy("verify", path, "--receiver", r.receiverKey(), "--lang", lang)
		t.Log(out)
	}
	if code, rep = r.verify(path, "--device", evidence.Fingerprint(r.device.Public().(ed25519.PublicKey))); code != 0 {
		t.Errorf("with the device's fingerprint: exit %d, %+v", code, wrongOf(rep))
	}
	if code, rep = r.verify(path); code != 1 {
		t.Errorf("without a key: exit %d, %+v", code, rep.Findings)
	}
	if code, out, errs := r.davy("export", "--evidence", path, "--state", r.state, "--gateway", "x", "--lang", "en"); code != 2 || !strings.Contains(errs, "never overwritten") {
		t.Errorf("a second time: exit %d, %s%s", code, out, errs)
	}
}

// Beside a keeper at work the file is whole too.
func TestEvidenceBesideAKeeper(t *testing.T) {
	r := newRecorded(t)
	r.open()
	r.record(12)
	r.close()
	r.open()
	r.record(12)
	path := r.export()
	if code, rep := r.verify(path, "--device", evidence.Fingerprint(r.device.Public().(ed25519.PublicKey))); code != 0 || rep.Readings != 24*20 {
		t.Errorf("exit %d: %+v", code, rep)
	}
	r.close()
}

// The files of a journal that is written to are copied one after the other. What
// one copy has and the other has not yet is left out, and the rest is whole.
func TestEvidenceOfCopiesOfTwoTimes(t *testing.T) {
	r := newRecorded(t)
	r.open()
	r.record(12)
	events, readings := filepath.Join(journalDir(r.state), "event-00000000.seg"), filepath.Join(journalDir(r.state), "reading-00000000.seg")
	early, err := os.ReadFile(events)
	r.must(err)
	r.record(12)
	late, err := os.ReadFile(readings)
	r.must(err)
	r.close()
	r.must(os.WriteFile(events, early, 0o600))
	r.must(os.WriteFile(readings, late, 0o600))
	held, err := os.Open(readings)
	r.must(err)
	defer held.Close()
	r.must(syscall.Flock(int(held.Fd()), syscall.LOCK_EX))
	code, rep := r.verify(r.export(), "--device", evidence.Fingerprint(r.device.Public().(ed25519.PublicKey)))
	// Of 24 batches the 22nd is followed by an event that the early copy has not.
	if code != 0 || rep.Readings != 22*20 {
		t.Errorf("exit %d: %+v", code, rep)
	}
}

// Records that were confirmed and are old are deleted; the file of what is left
// says from when on nothing is missing, and is whole.
func TestEvidenceAfterRetention(t *testing.T) {
	r := newRecorded(t)
	r.o.Keep = time.Minute
	r.open()
	value := int64(1)
	for range 60 {
		readings := make([]tag.Reading, 2000)
		for k := range readings {
			r.now += int64(time.Millisecond)
			value = value * 6364136223846793005 // no two alike, so that a segment fills up
			readings[k] = tag.Reading{Tag: 1, Value: tag.IntValue(value), Quality: tag.GoodQuality, Received: r.o.Now()}
		}
		r.must(r.j.Append(journal.Batch{Readings: readings}))
	}
	r.witness()
	c, err := r.j.Cursor("province")
	r.must(err)
	r.must(c.Confirm(&wire.Receipt{Version: wire.Version, Gateway: evidenceGateway, Epoch: r.j.Epoch(), Upto: r.j.Heads()}))
	r.must(r.j.Retain(true)) // from here on time is lived through
	r.now += int64(time.Hour)
	r.record(2)
	r.must(r.j.Retain(true))
	r.close()
	code, rep := r.verify(r.export(), "--receiver", r.receiverKey())
	var first uint64
	for _, s := range rep.Epochs[0].Streams {
		if s.Stream == wire.ReadingStream {
			first = s.First
		}
	}
	if code != 0 || first <= 1 || rep.Claim.From == 0 || rep.Epochs[0].HashOnly == 0 {
		t.Errorf("exit %d, from %d: %+v", code, first, rep)
	}
}

// A span of time is shown to be all there was of it.
func TestEvidenceOfAWindow(t *testing.T) {
	r := newRecorded(t)
	var at []int64
	for range 4 {
		r.open()
		r.record(20)
		at = append(at, r.now)
		r.record(20)
		r.witness()
		r.close()
	}
	clock := func(wall int64) string { return time.Unix(0, wall).Format(time.RFC3339) }
	for _, c := range []struct {
		name     string
		from, to int64
		epochs   int
	}{
		{"within one epoch", at[1] - 100e9, at[1] + 100e9, 4},
		{"over a change of epochs", at[1], at[2], 4},
		{"to the end", at[3], 0, 2},
		{"from the beginning", 0, at[0], 4},
		{"between two epochs", at[1] + 1000e9, at[1] + 2000e9, 4},
	} {
		args := []string{}
		if c.from != 0 {
			args = append(args, "--from", clock(c.from))
		}
		if c.to != 0 {
			args = append(args, "--to", clock(c.to))
		}
		path := r.export(args...)
		code, rep := r.verify(path, "--receiver", r.receiverKey())
		if code != 0 || len(rep.Epochs) != c.epochs || rep.Readings > 4*40*20*3/4 {
			t.Errorf("%s: exit %d: %d epochs, %d readings, %+v", c.name, code, len(rep.Epochs), rep.Readings, wrongOf(rep))
		}
	}
	path := r.export("--streams", "event")
	if code, rep := r.verify(path, "--receiver", r.receiverKey()); code != 0 || rep.Readings != 0 {
		t.Errorf("events alone: exit %d, %+v", code, rep)
	}
	path = r.export("--epoch", hexOf(r.epochs[2]))
	if code, rep := r.verify(path, "--receiver", r.receiverKey()); code != 0 || len(rep.Epochs) != 1 {
		t.Errorf("one epoch: exit %d, %+v", code, rep)
	}
}

// A receiver that an authority certified is believed by the authority's key
// alone, whether the certificate is in the file or beside it.
func TestEvidenceByAuthority(t *testing.T) {
	r := newRecorded(t)
	r.open()
	r.record(5)
	r.witness()
	r.close()
	authority := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	cert := &wire.Certificate{Key: r.receiver.Public().(ed25519.PublicKey), Name: "province", NotBefore: 1, NotAfter: 1 << 62, Number: 3}
	file := filepath.Join(t.TempDir(), "receiver.cert")
	r.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: evidence.SignCertificate(cert, authority)}), 0o600))
	key := func(k ed25519.PrivateKey) string {
		return "ed25519:" + base64.StdEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
	}
	with, without := r.export("--certificate", file), r.export()
	for _, c := range []struct {
		path string
		args []string
		code int
	}{
		{with, []string{"--authority", key(authority)}, 0},
		{without, []string{"--authority", key(authority), "--certificate", file}, 0},
		{without, []string{"--authority", key(authority)}, 1},
		{with, []string{"--authority", key(other)}, 1},
	} {
		code, rep := r.verify(c.path, c.args...)
		if code != c.code || code == 0 && (rep.Epochs[0].Witnessed == nil || rep.Epochs[0].Witnessed.By != "province") {
			t.Errorf("%v: exit %d: %+v", c.args, code, rep)
		}
	}
	if code, _, errs := r.davy("verify", with, "--certificate", file, "--lang", "en"); code != 2 || !strings.Contains(errs, "--authority KEY") {
		t.Errorf("a certificate without an authority: exit %d, %s", code, errs)
	}
}

// What was lost to a damaged segment is explained by the gap record of a later
// epoch, also in the evidence of the first alone; and salvage finds it in the
// file that was set aside.
func TestEvidenceOfALoss(t *testing.T) {
	r := newRecorded(t)
	r.open()
	r.record(20)
	r.witness()
	r.close()
	segment := filepath.Join(journalDir(r.state), "reading-00000000.seg")
	b, err := os.ReadFile(segment)
	r.must(err)
	clear(b[:2*4096])
	r.must(os.WriteFile(segment, b, 0o600))
	r.open()
	r.record(5)
	r.witness()
	r.close()
	for _, args := range [][]string{nil, {"--epoch", hexOf(r.epochs[0])}} {
		code, rep := r.verify(r.export(args...), "--receiver", r.receiverKey())
		gap := slices.ContainsFunc(rep.Findings, func(f export.Finding) bool {
			return f.Code == export.Gap && f.Epoch == hexOf(r.epochs[0]) && f.Stream == wire.ReadingStream && f.From == 1 && f.To == 400
		})
		if code != 0 || !gap {
			t.Errorf("%v: exit %d: %+v", args, code, rep.Findings)
		}
	}
	path := filepath.Join(t.TempDir(), "s.davy")
	_, _, errs := r.davy("salvage", filepath.Join(journalDir(r.state), "quarantine"), "--out", path)
	if _, rep := r.verify(path, "--receiver", r.receiverKey()); rep.Readings != 400 || rep.Epochs[0].Witnessed == nil {
		t.Errorf("salvaged %+v: %s", rep, errs)
	}
	after, err := os.ReadDir(filepath.Join(journalDir(r.state), "quarantine"))
	r.must(err)
	if now, err := os.ReadFile(filepath.Join(journalDir(r.state), "quarantine", after[0].Name())); err != nil || !bytes.Equal(now, b) {
		t.Error("salvage changed what it read")
	}
}

func hexOf(id wire.Epoch) string { return hex.EncodeToString(id[:]) }
