package store

import (
	"context"
	"encoding/hex"
	"fmt"

	"davy/agent/wire"
)

// The kinds of what is found, beside forks and losses, which have tables of
// their own. Epoch and Other are epochs, First and Last what the kind says.
const (
	LogFork  = "log-fork"  // two logs of one epoch: the witnessed size (First) and the one that does not go on from it (Last); Bytes is its note
	LogShort = "log-short" // the log of Other is declared to have First leaves (0: nothing is) by Epoch after it, and Last were witnessed
	Rollback = "rollback"  // Epoch goes on from behind Other, which had begun before it, or denies what its clean parent Other had
	Clone    = "clone"     // Epoch lives on after Other took its place, at number First of Stream
	Boots    = "boots"     // messages of two boots came in turns; Note is one of them
	Silent   = "silent"    // nothing came since First (wall, ns)
	Clock    = "clock"     // its clock, said to be trusted, differs by First ns from this receiver's
	Withheld = "withheld"  // it has First..Last of Stream and they do not come, although other things do
	Hole     = "hole"      // likewise, and what follows them has come: it may believe that they are receipted
	Restored = "restored"  // of this receiver: its database is another since then; Note is the store id before
)

// Kinds lists them, what weighs most first.
func Kinds() []string {
	return []string{LogFork, LogShort, Rollback, Clone, Boots, Hole, Withheld, Clock, Silent, Restored}
}

// Finding is one thing for an inspector.
type Finding struct {
	Gateway string     `json:"gateway,omitempty"`
	Kind    string     `json:"kind"`
	Epoch   wire.Epoch `json:"-"`
	Other   wire.Epoch `json:"-"`
	Stream  string     `json:"stream,omitempty"`
	First   int64      `json:"first,omitempty"`
	Last    int64      `json:"last,omitempty"`
	Wall    int64      `json:"wall"`  // when it was found, ns
	Seen    int64      `json:"seen"`  // and last
	Ended   int64      `json:"ended"` // when it was over; 0: it stands
	Note    string     `json:"note,omitempty"`
	Bytes   []byte     `json:"-"` // what proves it
	// As they are shown; "" for none.
	EpochName string `json:"epoch,omitempty"`
	OtherName string `json:"other,omitempty"`
}

// Find enters a finding once; found again, it keeps its first words, and Last
// and Seen are the newest, but Last is what Bytes say where there are any. What
// was over stands again.
func (b *Batch) Find(f *Finding) error {
	_, err := b.exec(`INSERT INTO finding (gateway, kind, epoch, other, stream, first, last, wall, seen, ended, note, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)
		ON CONFLICT (gateway, kind, epoch, other, stream, first) DO UPDATE SET last = CASE WHEN length(finding.bytes) = 0 THEN excluded.last ELSE finding.last END, seen = excluded.seen, ended = 0`,
		f.Gateway, f.Kind, f.Epoch[:], f.Other[:], f.Stream, f.First, f.Last, b.wall, b.wall, f.Note, solid(f.Bytes))
	return err
}

// Findings lists what was found of a gateway, of all of them and of the
// receiver itself if it is "", the oldest first.
func (s *Store) Findings(ctx context.Context, gateway string) ([]Finding, error) {
	if !s.newer {
		return nil, nil
	}
	all, err := rowsOf(ctx, s.db, func(scan func(...any) error) (f Finding, err error) {
		var epoch, other []byte
		err = scan(&f.Gateway, &f.Kind, &epoch, &other, &f.Stream, &f.First, &f.Last, &f.Wall, &f.Seen, &f.Ended, &f.Note, &f.Bytes)
		f.EpochName, f.OtherName = shown(&f.Epoch, epoch), shown(&f.Other, other)
		return f, err
	}, `SELECT gateway, kind, epoch, other, stream, first, last, wall, seen, ended, note, bytes FROM finding WHERE ? IN ('', gateway) ORDER BY wall, gateway, kind, epoch, first`, gateway)
	if err != nil {
		return nil, fmt.Errorf("findings: %w", err)
	}
	return all, nil
}

func shown(dst *wire.Epoch, b []byte) string {
	copy(dst[:], b)
	if *dst == (wire.Epoch{}) {
		return ""
	}
	return hex.EncodeToString(dst[:])
}
