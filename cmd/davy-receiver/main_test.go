package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/evidence"
	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/gate"
	"davy/cmd/davy-receiver/ingest"
	"davy/cmd/davy-receiver/store"
	"davy/drivers/tag"
	"davy/rules"
)

// call runs a command line and returns its exit code and what it says.
func call(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := program(t.Context()).Main(args, &out, &errs)
	if s := out.String() + errs.String(); strings.Contains(s, "⟨") {
		t.Errorf("%q: words are missing: %s", args, s)
	}
	return code, out.String(), errs.String()
}

// fill makes a database with an alarm, a trip, a gap, a fork, a loss and strangers.
func fill(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if code, _, errs := call(t, "enroll", "GW-1", strings.ToLower(evidence.Fingerprint(key.Public().(ed25519.PublicKey))), "--db", dir); code != 0 {
		t.Fatal(errs)
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	in := ingest.New(ingest.Options{
		Store: st, Key: key, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Publish: func(context.Context, string, []byte) error { return nil },
	})
	send := func(epoch byte, first uint64, events ...wire.Event) {
		e := wire.Envelope{
			Version: wire.Version, Gateway: "GW-1", Epoch: wire.Epoch{epoch},
			Blocks: []wire.Block{{Stream: wire.EventStream, First: first, Count: uint32(len(events)), Body: wire.EncodeEvents(events)}},
		}
		s := wire.Sign(wire.EnvelopeKind, e.Encode(nil), key)
		in.Take(t.Context(), []ingest.Message{{Topic: "davy/1/GW-1/up/event", Payload: s.Encode(nil)}})
	}
	at := func(s int64) tag.Stamp { return tag.Stamp{Wall: 1_700_000_000e9 + s*1e9} }
	v, _ := tag.Float64Value(31)
	send(1, 1, wire.Event{Kind: 129, Table: &wire.Table{People: []wire.Person{{ID: "wang", Name: "王芳"}}, Tags: []wire.TableTag{
		{ID: 1, Name: "nh3-1.gas", Unit: "ppm", TextZh: "机房氨", TextEn: "machine room ammonia"},
		{ID: 2, Name: "fan.state", Names: []wire.Name{{Code: 0, Text: "stop"}, {Code: 1, Text: "run"}}},
		{ID: 3, Name: "mode", Unit: "x", Names: []wire.Name{{Code: 3, Text: "fault"}}},
		{ID: 4, Name: "gas", Names: []wire.Name{{Code: 7, Text: "NH3"}}},
	}}},
		wire.Event{Kind: uint32(rules.AlarmRaised), At: at(1), Rule: "nh3-1.high", Occurrence: 1, Tag: 1, Value: v, Limit: 28},
		wire.Event{Kind: uint32(rules.InterlockTripped), At: at(2), Rule: "NH3-150", Occurrence: 1, FirstOut: "nh3-1.gas", Votes: []wire.Vote{{Channel: "nh3-1.gas"}}},
		wire.Event{Kind: uint32(rules.AlarmAcked), At: at(3), Rule: "nh3-1.high", Occurrence: 1, Who: "li"},
		wire.Event{Kind: uint32(rules.AlarmReturned), At: at(4), Rule: "nh3-1.high", Occurrence: 1},
		wire.Event{Kind: uint32(rules.InterlockReset), At: at(5), Rule: "NH3-150", Occurrence: 1, Who: "wang", Proved: true},
		wire.Event{Kind: 130, Gap: &wire.Gap{Stream: wire.ReadingStream, From: 1, To: 9, Count: 9, Cause: "size-limit", RootAfter: make([]byte, 32)}})
	send(1, 1, wire.Event{Note: "another content"})
	send(1, 12, wire.Event{Note: "after a hole"})
	send(1, 13, wire.Event{Kind: uint32(ring.OutputWritten), Output: "fan", Value: tag.BoolValue(true)},
		wire.Event{Kind: uint32(ring.OutputFailed), Output: "fan", Value: tag.BoolValue(false), Note: "refused\x1b[2J"},
		wire.Event{Kind: uint32(ring.DeviceEvent), Tag: 3, Value: tag.IntValue(3), Note: "Tank | high"},
		wire.Event{Kind: uint32(rules.AlarmRaised), At: at(6), Rule: "mode.fault", Occurrence: 1, Tag: 3, Value: tag.EnumValue(3)},
		wire.Event{Kind: uint32(rules.AlarmRaised), At: at(7), Rule: "gas.found", Occurrence: 1, Tag: 4, Value: tag.TextValue(7)},
		wire.Event{Kind: 63, Rule: "new"})
	send(2, 1, wire.Event{Kind: 128, Start: &wire.Start{Parent: append([]byte{1}, make([]byte, 15)...)}})
	in.Take(t.Context(), []ingest.Message{{Topic: "davy/1/GW-7/up/event", Payload: []byte("x")}})
	return dir
}

func TestCommands(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	dir := fill(t)
	for _, lang := range []string{"zh", "en"} {
		has := func(want string, args ...string) {
			t.Helper()
			code, out, errs := call(t, append(args, "--db", dir, "--lang", lang)...)
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%q: exit %d, %q is not in:\n%s%s", args, code, want, out, errs)
			}
		}
		has("GW-1", "gateways")
		has("GW-7", "gateways")
		has("8..11", "gaps", "GW-1")
		has("size-limit", "gaps")
		has("nh3-1.high #1", "alarms")
		has(map[string]string{"zh": "机房氨 31 ppm", "en": "machine room ammonia 31 ppm"}[lang], "alarms", "GW-1")
		has(map[string]string{"zh": "首出 nh3-1.gas", "en": "first-out nh3-1.gas"}[lang], "alarms")
		has("mode fault (3)", "alarms")
		has("gas NH3", "alarms")
		has("wang (王芳)", "events")
		has(`"who_name": "王芳"`, "events", "--json")
		has(`"value_name": "fault"`, "alarms", "--json")
		has(map[string]string{"zh": "输出已写入 fan，run (true)", "en": "output written fan, run (true)"}[lang], "events", "GW-1")
		has(map[string]string{"zh": "写出被拒绝 fan，stop (false)，refused [2J", "en": "write refused fan, stop (false), refused [2J"}[lang], "events")
		has(map[string]string{"zh": "设备自报，mode，严重度 3，Tank | high", "en": "device says, mode, severity 3, Tank | high"}[lang], "events")
		has("kind-63 new", "events", "--last", "2")
		has(`"kind": "output-failed"`, "events", "--json")
		has(map[string]string{"zh": "不完整", "en": "NOT complete"}[lang], "totals")
		has("sha256", "export", "GW-1")
		has(map[string]string{"zh": "未见证", "en": "not witnessed"}[lang], "verify", "GW-1")
		has("ed25519:", "key", "show")
		for _, bad := range [][]string{
			{"gaps", "--check"},
			{"verify", "--check"},
			{"enroll", "GW/1", "x"},
			{"enroll", "GW-1", "x"},
			{"key", "make"},
			{"run"},
			{"run", "--listen", "x"},
			{"run", "--broker", "ssl://x"},
			{"run", "--broker", "tcp://x", "--fault", "all"},
			{"totals", "--pause", "x"},
			{"events", "--last", "0"},
			{"totals", "--after", "x"},
			{"run", "--broker", "tcp://x", "--log-level", "loud"},
			{"run", "--broker", "tcp://x", "--ready-fd", "1"},
		} {
			code, _, errs := call(t, append(bad, "--db", dir, "--lang", lang)...)
			want := 2
			if len(bad) == 2 && bad[1] == "--check" {
				want = 1
			} else if errs == "" {
				t.Errorf("%q: nothing is said", bad)
			}
			if code != want {
				t.Errorf("%q: exit %d, want %d: %s", bad, code, want, errs)
			}
		}
		if code, _, errs := call(t, "gaps", "--db", dir+"x", "--lang", lang); code != 1 || errs == "" {
			t.Errorf("no database: exit %d %s", code, errs)
		}
		call(t, "help")
		for _, c := range program(t.Context()).Commands {
			call(t, "help", c.Name, "--lang", lang)
		}
	}
}

// A name that nobody enrolled is misspelt: no command says that nothing is wrong with it.
func TestUnknownGateway(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	dir := fill(t)
	for lang, want := range map[string][2]string{
		"zh": {"davy-receiver: 错误: " + dir + " 中没有登记网关“GW-7”\n", "davy-receiver gateways"},
		"en": {"davy-receiver: error: no gateway \"GW-7\" is enrolled in " + dir + "\n", "davy-receiver gateways"},
	} {
		for _, command := range []string{"alarms", "gaps", "totals", "export"} {
			for _, more := range [][]string{nil, {"--json"}} {
				code, out, errs := call(t, append([]string{command, "GW-7", "--db", dir, "--lang", lang}, more...)...)
				if code != 1 || out != "" || !strings.HasPrefix(errs, want[0]) || !strings.Contains(errs, want[1]) {
					t.Errorf("%s %s: exit %d: %s%s", command, more, code, out, errs)
				}
			}
		}
	}
}

// Of a gateway that was never heard from nothing is known, and that is said.
func TestNeverHeard(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	dir := filepath.Join(t.TempDir(), "db")
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	print := evidence.Fingerprint(key.Public().(ed25519.PublicKey))
	if code, _, errs := call(t, "enroll", "GW-9", print, "--db", dir); code != 0 {
		t.Fatal(errs)
	}
	for lang, want := range map[string]string{
		"zh": "GW-9：从未收到过报文；它有哪些记录无从得知\n",
		"en": "GW-9: never heard from; what it may have recorded is not known\n",
	} {
		for _, args := range [][]string{{"gaps"}, {"gaps", "GW-9"}} {
			if code, out, _ := call(t, append(args, "--db", dir, "--lang", lang)...); code != 0 || out != want {
				t.Errorf("%q: exit %d: %s", args, code, out)
			}
			if code, out, _ := call(t, append(args, "--check", "--db", dir, "--lang", lang)...); code != 1 || out != want {
				t.Errorf("%q --check: exit %d: %s", args, code, out)
			}
		}
		_, out, _ := call(t, "gateways", "--db", dir, "--lang", lang)
		if f := strings.Fields(strings.Split(out, "\n")[1]); len(f) != 7 || f[6] != "-" || f[2] != "-" || f[3] != "-" || f[4] != "-" {
			t.Errorf("%s", out)
		}
	}
	code, out, _ := call(t, "gaps", "--check", "--json", "--db", dir)
	var gaps struct {
		Silent []string `json:"never_heard"`
	}
	if err := json.Unmarshal([]byte(out), &gaps); err != nil || code != 1 || len(gaps.Silent) != 1 || gaps.Silent[0] != "GW-9" {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, out, _ := call(t, "gaps", "--json", "--db", fill(t)); !strings.Contains(out, `"never_heard": []`) {
		t.Errorf("one that was heard: %s", out)
	}
}

func TestTotalsJSON(t *testing.T) {
	dir := fill(t)
	_, out, _ := call(t, "totals", "--json", "--db", dir, "--after", "1")
	var all struct{ Gateways []gatewayTotals }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	g := all.Gateways[0]
	if g.Alarms != 3 || g.Trips != 1 || g.FirstOut != "nh3-1.gas" || g.GapRecords != 1 || g.Lost != 9 || g.Forks == 0 || g.Losses != 2 || g.Complete ||
		g.Streams["event"].Unexplained != 4 || g.Streams["reading"].Explained != 9 || g.After == nil || g.After.Seq != 1 {
		t.Errorf("%s", out)
	}
}

// Two receivers on one directory: the second says so.
func TestLocked(t *testing.T) {
	dir := fill(t)
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if code, _, errs := call(t, "run", "--listen", "127.0.0.1:0", "--db", dir, "--lang", "en"); code != 1 || !strings.Contains(errs, "another receiver") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, out, errs := call(t, "gateways", "--db", dir); code != 0 || !strings.Contains(out, "GW-1") {
		t.Errorf("beside a running receiver: exit %d: %s", code, errs)
	}
}

// A key file is made once and never replaced.
func TestKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "receiver.key")
	_, first, errs := call(t, "key", "show", "--key", file)
	if !strings.HasPrefix(first, "ed25519:") {
		t.Fatal(errs)
	}
	if _, second, _ := call(t, "key", "show", "--key", file); second != first {
		t.Errorf("%s, then %s", first, second)
	}
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := call(t, "key", "show", "--key", file); code != 1 || out != "" {
		t.Errorf("a damaged key: exit %d, %q", code, out)
	}
}

// Every code that a person sees has words.
func TestWords(t *testing.T) {
	for _, v := range []string{gate.NotSigned, gate.BadSignature, gate.NotAnEnvelope, gate.WrongTopic, gate.WrongVersion, ingest.Unknown, ingest.WrongKey, ingest.Poison} {
		if !i18n.Has("davy-receiver.verdict." + v) {
			t.Errorf("verdict %s", v)
		}
	}
	for _, s := range []string{store.Waiting, store.Explained, store.Refused, store.Unexplained} {
		if !i18n.Has("davy-receiver.gap." + s) {
			t.Errorf("state %s", s)
		}
	}
	for _, k := range []string{"content", "chain", "head", "parent", "parent-head", "orphan"} {
		if !i18n.Has("davy-receiver.fork." + k) {
			t.Errorf("fork %s", k)
		}
	}
}

// The numbers of events are for ever, and the receiver's names of them are the
// agent's own.
func TestKinds(t *testing.T) {
	known := 0
	for k := range rules.Kind(192) {
		name := operate.KindName(k)
		if got := kindName(uint32(k)); got != name {
			t.Errorf("kind %d: %s here, %s in the agent", k, got, name)
		}
		if _, ok := kinds[uint32(k)]; ok {
			known++
		}
	}
	if known != 56 || ring.ClockNoted != 133 || ring.UplinkWithdrawn != 134 || rules.TestEnded != 35 || ring.ClockStepped != 72 || ring.OutputWritten != 73 || ring.OutputFailed != 74 || ring.DeviceEvent != deviceEvent || ring.PersonRefused != 76 || ring.RuleChanged != ruleChanged ||
		ring.EpochStarted != 128 || ring.TagTable != 129 || ring.GapRecorded != 130 || ring.ReceiptRefused != 131 || ring.JournalDamaged != 132 {
		t.Errorf("%d kinds, or a number has moved", known)
	}
}
