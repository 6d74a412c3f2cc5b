package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"davy/agent/operate"
	"davy/test/rig"
)

// The whole way of the evidence, by the programs as people run them: agent and
// receiver, a kill in between; the receiver has cosigned, both of its and our
// own record are whole, and a byte that is changed is found and named.
func TestEvidenceFromEndToEnd(t *testing.T) {
	g, err := rig.New(bin)
	must(t, err)
	b := &rig.Bench{Rig: g}
	defer b.Close()
	must(t, b.StartPlant())
	must(t, b.StartReceiver(""))
	must(t, b.WriteSite(nil))
	must(t, b.Enroll())
	must(t, b.Apply("evidence"))
	// The first checkpoint covers little more than the start; a second one shows
	// that the log grew before the receiver's eyes.
	witnessed := func(what string) {
		t.Helper()
		var first time.Time
		must(t, b.See(90*time.Second, what, func(v *operate.View) bool {
			if !rig.Watching(v) || v.Keeper.State != operate.KeeperRunning || len(v.Keeper.Uplinks) != 1 {
				return false
			}
			w := v.Keeper.Uplinks[0].Witness
			if w == nil || w.At.IsZero() || w.Refused != "" {
				return false
			}
			if first.IsZero() {
				first = w.At
			}
			return w.At.After(first)
		}))
	}
	must(t, b.StartDavy())
	witnessed("a witnessed epoch")
	b.Davy.Kill() // and the keeper with it, sooner or later
	must(t, b.StartDavy())
	witnessed("a second one")
	must(t, b.Davy.Stop(20*time.Second))

	file := b.Path("evidence.davy")
	_, err = b.Output("davy", "journal", "export", "--state", b.State(), "--evidence", file)
	must(t, err)
	key := b.Path("receiver.pub")
	must(t, os.WriteFile(key, []byte(b.Key+"\n"), 0o600))
	out, err := b.Output("davy", "journal", "verify", file, "--receiver", key)
	t.Logf("verify: %v\n%s", err, out)
	must(t, err)
	if _, err := b.Output("davy", "journal", "verify", file, "--receiver", key, "--lang", "zh"); err != nil {
		t.Error(err)
	}
	out, err = b.Output("davy-receiver", "verify", "--db", b.DB())
	t.Logf("receiver: %v\n%s", err, out)
	must(t, err)
	gaps, err := b.Output("davy-receiver", "gaps", "--db", b.DB(), "--check")
	if err != nil {
		t.Errorf("findings of a record that is whole: %v\n%s", err, gaps)
	}

	raw, err := os.ReadFile(file)
	must(t, err)
	raw[len(raw)/2] ^= 1
	must(t, os.WriteFile(file+".bad", raw, 0o600))
	if out, err := b.Output("davy", "journal", "verify", file+".bad", "--receiver", key); err == nil || !strings.Contains(err.Error()+out, "exit status 1") {
		t.Errorf("a changed byte: %v\n%s", err, out)
	}
}
