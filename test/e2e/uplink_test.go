// Package e2e plays the real binaries against parts that nobody here wrote:
// a libmodbus device, mosquitto.
//
// A test starts what it needs on free ports of loopback and below one temporary
// directory, and ends it; nothing outlives it. What is judged is read from the
// store of the receiver and from the journal, not from what a test believes
// that it caused. Nothing is skipped: a part that is not installed is a failure.
package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"davy/rules"
	"davy/test/rig"
)

// totals as the receiver's command prints them.
type totals struct {
	Gateways []struct {
		Gateway string
		Streams map[string]struct{ Received, Head, Unexplained, Waiting uint64 }
		Missing []struct {
			Stream, State string
			From, To      uint64
		}
		Receipts int64
		Alarms   int64
		Pauses   []struct {
			Seconds float64
			First   struct {
				Stream string
				Number uint64
			}
			Backlog map[string]uint64
		}
		Complete bool
	}
}

func (l *line) totals() totals {
	l.t.Helper()
	var t totals
	if err := json.Unmarshal([]byte(l.cli("totals", "--json", "--pause", "1s")), &t); err != nil {
		l.t.Fatal(err)
	}
	if len(t.Gateways) != 1 || t.Gateways[0].Gateway != lineGateway {
		l.t.Fatalf("totals %+v", t)
	}
	return t
}

// TestUplinkThroughOutages: broker killed, receiver killed, journal opened
// anew; afterwards the store holds exactly what the journal recorded, and
// after an outage events came first.
func TestUplinkThroughOutages(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	began := time.Now()
	stage := func(what string) { t.Logf("%6.1f s  %s", time.Since(began).Seconds(), what) }
	l.startReceiver()
	l.openJournal()
	stage("started")
	for range 20 {
		l.record(rules.AlarmRaised, 1, 200)
	}
	l.drained(20 * time.Second)

	stage("first drained")
	l.broker.Kill()
	for range 30 {
		l.record(rules.AlarmRaised, 1, 500)
	}
	gone := time.Now()
	if err := rig.WaitFor(10*time.Second, "the outage is noticed and lasts", func() bool {
		return !l.u.Status().Connected && time.Since(gone) > 1500*time.Millisecond
	}); err != nil {
		t.Fatal(err)
	}
	if l.backlog() == 0 {
		t.Fatal("no backlog at the end of the outage")
	}
	stage("outage begins")
	l.startBroker()
	l.drained(60 * time.Second)

	tot := l.totals().Gateways[0]
	if len(tot.Pauses) == 0 {
		t.Fatal("no pause of arrival is known")
	}
	if p := tot.Pauses[len(tot.Pauses)-1]; p.First.Stream != "event" || p.Seconds < 1 || p.Backlog["reading"] < 1000 || p.Backlog["event"] < 30 {
		t.Errorf("after the outage: %+v", p)
	}

	stage("drained after outage")
	// The receiver dies while it takes in, again and again.
	for range 3 {
		for range 40 {
			l.record(rules.AlarmRaised, 1, 500)
		}
		l.receiver.Kill()
		l.startReceiver()
	}
	stage("receiver killed thrice")
	l.drained(60 * time.Second)

	// A new epoch.
	l.closeJournal()
	l.openJournal()
	l.record(rules.AlarmRaised, 1, 10)
	l.drained(20 * time.Second)

	stage("new epoch drained")
	tot = l.totals().Gateways[0]
	if !tot.Complete || tot.Alarms != 20+30+3*40+1 || tot.Streams["reading"].Received != 20*200+30*500+3*40*500+10 {
		t.Errorf("totals %+v", tot)
	}
	l.cli("gaps", "--check")
	l.cli("gaps", "--check", "--lang", "zh")
	if zh, en := l.cli("alarms", "--lang", "zh"), l.cli("alarms", "--lang", "en"); zh == en || strings.Count(en, "nh3-") != int(tot.Alarms) || strings.Contains(zh+en, "⟨") {
		t.Errorf("alarms:\n%s%s", zh, en)
	}
	stage("commands")
	var export struct {
		Records uint64
		Sha256  string
	}
	if err := json.Unmarshal([]byte(l.cli("export", lineGateway, "--json")), &export); err != nil {
		t.Fatal(err)
	}
	stage("export")
	l.closeJournal()
	stage("journal closed")
	l.sameAsJournal(export.Records, export.Sha256)
	stage("journal read")
}

// TestReceiverThatLies: an event is dropped and receipted; the gateway cannot
// know, but the receiver's own store names the number.
func TestReceiverThatLies(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.startReceiver("--fault", "drop-one")
	l.openJournal()
	l.record(rules.AlarmAcked, 2, 10)
	l.record(rules.AlarmRaised, 3, 10)
	l.drained(20 * time.Second)
	tot := l.totals().Gateways[0]
	if tot.Complete || len(tot.Missing) != 1 || tot.Missing[0].Stream != "event" || tot.Missing[0].State != "unexplained" || tot.Missing[0].From != tot.Missing[0].To {
		t.Errorf("totals %+v", tot)
	}
	if tot.Alarms != 2 {
		t.Errorf("%d alarms", tot.Alarms)
	}
	if out, err := l.rig.Output("davy-receiver", "gaps", "--check", "--db", l.rig.Path("db")); err == nil {
		t.Errorf("gaps --check finds nothing:\n%s", out)
	}
}

// TestUplinkThroughput measures records a second from a journal's backlog
// through mosquitto to COMMIT and receipt. It is a figure, not a limit; what
// must hold is that it ends.
func TestUplinkThroughput(t *testing.T) {
	l := newLine(t)
	l.startReceiver()
	l.broker.Kill()
	l.openJournal()
	const batches, each = 60, 4000
	for range batches {
		l.record(rules.AlarmAcked, 1, each)
	}
	l.startBroker()
	if err := rig.WaitFor(60*time.Second, "connection", func() bool { return l.u.Status().Receipts > 0 }); err != nil {
		t.Fatal(err)
	}
	began, before := time.Now(), l.backlog()
	l.drained(120 * time.Second)
	took := time.Since(began)
	t.Logf("%d records in %v: %.0f records/s, %d messages", before, took.Round(time.Millisecond), float64(before)/took.Seconds(), l.u.Status().Messages)
}
