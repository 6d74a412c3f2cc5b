// Package journalbench takes what a reading costs once it is to be kept.
//
//   - journal.bytes_per_reading and journal.bytes_per_reading_raw_float32: 500 tags at
//     1 s, sync 5 s, a day: what the whole directory of the journal takes on
//     disk, hashes and checkpoints of its log included, over the readings. The
//     first is of quantised signals, the second of transmitters' float32.
//   - journal.written_per_reading: sectors that reach a loop device with an ext4
//     on it (the journal's, the file system's, all of them) per reading at 500
//     tags/s with a receipt every second, over those of a growing append-only
//     file with the same payload and as many syncs. It needs root.
//   - journal.durable_per_s_vs_append: readings made durable per second at 1,000
//     readings a commit, over the append-only file with the same readings as
//     they are, 41 bytes each, and one sync. The limit is the least that holds.
//   - journal.fsyncs_per_event_commit: fsync and fdatasync calls as strace sees
//     them: those of a run of many commits less those of a run of few.
//   - journal.commits_per_s_in_flood: transactions in ten seconds of an alarm
//     flood that never lets the recorder rest.
//   - journal.append_after_drain_ratio: how long an append takes after 8 million
//     readings were recorded and confirmed, over one of a new journal.
//
// Signals and clock are simulated, and the same in every run; the disk is real,
// but for the two sizes, which are the same in memory.
//
// Imports: agent/config, agent/journal, agent/merkle, agent/record, agent/ring,
// agent/wire, drivers/tag, rules, test/bench/figure,
// test/floor/appendfile, test/rig.
package journalbench

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/test/bench/figure"
)

// Names and limits.
const (
	nameBytes   = "journal.bytes_per_reading"
	nameRaw     = "journal.bytes_per_reading_raw_float32"
	nameWritten = "journal.written_per_reading"
	nameDurable = "journal.durable_per_s_vs_append"
	nameSyncs   = "journal.fsyncs_per_event_commit"
	nameFlood   = "journal.commits_per_s_in_flood"
	nameDrain   = "journal.append_after_drain_ratio"

	mostBytes    = 1.5
	mostRaw      = 4.0
	mostWritten  = 3.0
	leastDurable = 0.5
	mostSyncs    = 2
	mostFlood    = 10
	mostDrain    = 1.2
)

const (
	syncEvery = 5 * time.Second
	perCommit = 4 // seconds: the recorder leaves a fifth of sync for the commit itself
	receipts  = "regulator"
	dayBytes  = 1 << 30
	noteSize  = 700 // bytes of a checkpoint with its cosignature, about
)

// Bytes prints what a reading takes on disk, and reports whether it holds.
func Bytes(w io.Writer) bool {
	ok := day(w, nameBytes, mostBytes, false)
	return day(w, nameRaw, mostRaw, true) && ok
}

// site is a journal with a plant before it and a receiver behind it.
type site struct {
	dir   string
	j     *journal.Journal
	c     *journal.Cursor
	plant *plant
	mono  int64
	n     int64 // readings
}

func newSite(dir string, rawFloats bool) (*site, error) {
	s := &site{dir: dir, plant: newPlant(rawFloats), mono: int64(time.Hour)}
	var err error
	s.j, err = journal.Open(journal.Options{
		Dir: dir, Gateway: "BENCH-1", Keep: 1000 * time.Hour, Sync: syncEvery, MustConfirm: []string{receipts}, Trusted: true,
		Now: func() tag.Stamp { return tag.Stamp{Wall: boot + s.mono, Mono: s.mono} }, Boot: "bench", Version: "bench",
	})
	if err != nil {
		return nil, err
	}
	if s.c, err = s.j.Cursor(receipts); err != nil {
		return nil, errors.Join(err, s.j.Close())
	}
	return s, nil
}

// confirm is a receipt for all that is here, and the receiver's witness of the log.
func (s *site) confirm(witness bool) error {
	id := s.j.Epoch()
	for _, h := range s.j.Heads() {
		if err := s.c.Advance(h.Stream, journal.Pos{Epoch: id, Number: h.Number}); err != nil {
			return err
		}
	}
	if !witness {
		return nil
	}
	size, root, err := s.j.LogHead(id)
	if err != nil {
		return err
	}
	return s.j.SetWitness(id, receipts, journal.Witness{Size: size, Root: root, Wall: boot + s.mono, Note: make([]byte, noteSize)})
}

// run keeps seconds of the plant as record, uplink and keeper do: a commit
// every perCommit, a health record every minute, a receipt every second, a
// witnessed checkpoint and a look at what may go every ten. Each is called with
// the encoded bytes of every commit of readings.
func (s *site) run(seconds int, each func(body []byte) error) error {
	for i := range seconds {
		s.mono += int64(time.Second)
		if i%perCommit == perCommit-1 {
			b := journal.Batch{Readings: s.plant.next(perCommit), Beat: tag.Stamp{Wall: boot + s.mono, Mono: s.mono}}
			s.n += int64(len(b.Readings))
			if i%60 == 59 {
				b.Health = []wire.Event{{Kind: 192, At: b.Beat, Note: `{"rss_mb":18,"turns":600,"links":10,"requests":10,"backlog":0,"disk_mb":41}`}}
			}
			if err := s.j.Append(b); err != nil {
				return err
			}
			if each != nil {
				if err := each(wire.EncodeReadings(b.Readings)); err != nil {
					return err
				}
			}
		}
		if err := s.confirm(i%10 == 8); err != nil {
			return err
		}
		if i%10 == 9 {
			if err := s.j.Retain(true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *site) close() error { return s.j.Close() }

// day takes the size of a day.
func day(w io.Writer, name string, limit float64, rawFloats bool) bool {
	perReading, what, err := size(24*3600, rawFloats)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	holds := figure.Print(w, name, perReading, "B", limit)
	fmt.Fprintf(w, "  %s: %s\n", name, what)
	return holds
}

// size keeps so many seconds in a new directory, and returns what a reading takes.
func size(seconds int, rawFloats bool) (perReading float64, what string, err error) {
	dir, err := os.MkdirTemp(memory(), "journalbench")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	s, err := newSite(filepath.Join(dir, "journal"), rawFloats)
	if err != nil {
		return 0, "", err
	}
	if err := errors.Join(s.run(seconds, nil), s.close()); err != nil {
		return 0, "", err
	}
	total, logs, err := allocated(s.dir)
	if err != nil {
		return 0, "", err
	}
	return float64(total) / float64(s.n), fmt.Sprintf("%d readings in %d bytes, %d of them hashes and checkpoints", s.n, total, logs), nil
}

// memory returns a directory in memory where there is one: what a file takes is
// the same there, and a day's 22,000 commits wait for no disk. Elsewhere it is
// the usual one.
func memory() string {
	const shm = "/dev/shm"
	var st unix.Statfs_t
	if unix.Statfs(shm, &st) != nil || st.Bavail*uint64(st.Bsize) < dayBytes {
		return ""
	}
	return shm
}

// allocated returns what a directory takes on disk, and what of that its logs do.
func allocated(dir string) (total, logs int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: the system does not say what it takes", path)
		}
		total += st.Blocks * 512
		if filepath.Base(filepath.Dir(path)) == "tree" {
			logs += st.Blocks * 512
		}
		return nil
	})
	return total, logs, err
}

// inverse of a figure whose limit is the least that holds.
func least(w io.Writer, name string, c figure.Comparison, limit float64) bool {
	value := 1 / c.Median
	holds := c.Noisy || value >= limit
	if c.Noisy {
		fmt.Fprintf(w, "BENCH %s noisy x %v\n", name, limit)
	} else {
		fmt.Fprintf(w, "BENCH %s %.4g x %v\n", name, value, limit)
	}
	if !holds {
		fmt.Fprintf(w, "  %s: the limit is passed\n", name)
	}
	fmt.Fprintf(w, "  %s: spread %.4g to %.4g, control %.4g, %d pairs, %d of at most %d tries\n",
		name, 1/c.High, 1/c.Low, c.Control, c.Pairs, c.Tried, figure.Tries)
	return holds && !math.IsNaN(value)
}
