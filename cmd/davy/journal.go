package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"davy/agent/cli"
	"davy/agent/evidence"
	"davy/agent/i18n"
	"davy/agent/journal"
	"davy/agent/replay/history"
	"davy/agent/wire"
)

// Where the keeper keeps things in the state directory.
func journalDir(state string) string { return filepath.Join(state, "journal") }
func keyDir(state string) string     { return filepath.Join(state, "keys") }

// journalStat is what `davy journal stat` counts, from the journal alone.
type journalStat struct {
	Recorded map[string]uint64 `json:"recorded"` // by stream, over all epochs
	GivenUp  map[string]uint64 `json:"given_up"` // numbers that gap records name
	Gaps     uint64            `json:"gaps"`     // gap records
	Epochs   int               `json:"epochs"`
	Records  uint64            `json:"records"`
	Hash     string            `json:"hash"`
	Damaged  []string          `json:"damaged,omitempty"`
}

// journalCommand reads the journal without changing it.
func journalCommand(c *cli.Call) error {
	for _, flag := range []string{"from", "to", "epoch", "streams"} {
		if c.Set(flag) && !c.Set("evidence") {
			return cli.Usage("davy.evidence.needs", i18n.Args{"flag": "--" + flag})
		}
	}
	switch {
	case c.Args[0] == "verify":
		return verifyCommand(c)
	case c.Args[0] == "salvage":
		return salvageCommand(c)
	case c.Args[0] != "stat" && c.Args[0] != "export" || len(c.Args) > 1:
		return cli.Usage("davy.journal.what", nil)
	}
	r, err := journal.OpenReadOnly(journalDir(c.Flag("state")))
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.Error{Exit: cli.Failed, Key: "davy.journal.none", Args: i18n.Args{"state": c.Flag("state")}}
	}
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case c.Args[0] == "stat":
		err = statJournal(c, r)
	case c.Set("evidence"):
		err = exportEvidence(c, r)
	default:
		err = history.Export(c.Out, r)
	}
	if err != nil || len(r.Damaged) == 0 {
		return err
	}
	for _, what := range r.Damaged { // what was printed is whole, but not all there was
		fmt.Fprintln(c.Err, c.Lang.Text("davy.journal.damaged", i18n.Args{"what": what}))
	}
	return cli.Quiet(cli.Failed)
}

// statJournal counts what there is.
func statJournal(c *cli.Call, r *journal.Reader) error {
	s := journalStat{Recorded: map[string]uint64{}, GivenUp: map[string]uint64{}}
	epochs := map[wire.Epoch]bool{}
	var digest wire.Digest
	err := r.Walk(func(rec journal.Record) error {
		epochs[rec.Epoch] = true
		s.Recorded[rec.Stream]++
		if rec.Event != nil && rec.Event.Gap != nil {
			s.Gaps++
			if g := rec.Event.Gap; g.From != 0 {
				s.GivenUp[g.Stream] += g.To - g.From + 1
			}
		}
		return digest.Add(rec.Epoch, rec.Stream, rec.Number, rec.Canonical(nil))
	})
	if err != nil {
		return err
	}
	sum := digest.Sum()
	s.Epochs, s.Records, s.Hash, s.Damaged = len(epochs), digest.Count, hex.EncodeToString(sum[:]), r.Damaged
	if c.JSON {
		return encode(c, s)
	}
	streams := make([]string, 0, len(s.Recorded))
	for name := range s.Recorded {
		streams = append(streams, name)
	}
	slices.Sort(streams)
	c.Say("davy.journal.epochs", i18n.Args{"epochs": s.Epochs})
	for _, name := range streams {
		c.Say("davy.journal.stream", i18n.Args{"stream": name, "number": s.Recorded[name], "gaps": s.GivenUp[name]})
	}
	c.Say("davy.journal.hash", i18n.Args{"count": s.Records, "hash": s.Hash})
	return nil
}

// keys shows the device's key, making it if there is none.
func keys(c *cli.Call) error {
	if c.Args[0] != "show" {
		return cli.Usage("davy.keys.what", nil)
	}
	// A key made in a directory that was misspelt would be enrolled, and never used.
	_, err := os.Stat(c.Flag("state"))
	var key ed25519.PrivateKey
	if err == nil {
		key, err = evidence.LoadOrCreateKey(keyDir(c.Flag("state")))
	}
	if err == nil {
		err = giveToOwner(c.Flag("state"))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return &cli.Error{Exit: cli.Failed, Key: "davy.state", Args: i18n.Args{"state": c.Flag("state")}, Cause: err, Hint: "davy.hint.state"}
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	pub := key.Public().(ed25519.PublicKey)
	args := i18n.Args{"key": "ed25519:" + base64.StdEncoding.EncodeToString(pub), "fingerprint": evidence.Fingerprint(pub)}
	if c.JSON {
		return encode(c, args)
	}
	c.Say("davy.keys.show", args)
	return nil
}
