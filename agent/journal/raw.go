package journal

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"davy/agent/wire"
)

// maxNotes is the number of cosigned checkpoints of one epoch above which the
// rest is not read: a journal has one for each destination.
const maxNotes = 64

// readNotes reads the cosigned checkpoints that the journal keeps. What a file
// says that is none is for their reader to find out.
func (r *Reader) readNotes() {
	r.notes = map[wire.Epoch][][]byte{}
	names, err := os.ReadDir(filepath.Join(r.dir, treeDir))
	if err != nil {
		return // there are none yet
	}
	for _, n := range names {
		id, rest, _ := strings.Cut(n.Name(), ".")
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != len(wire.Epoch{}) || rest == "" || strings.HasSuffix(rest, ".new") {
			continue
		}
		if info, err := n.Info(); err != nil || !info.Mode().IsRegular() || info.Size() > maxWitness || len(r.notes[wire.Epoch(raw)]) == maxNotes {
			continue
		}
		b, err := os.ReadFile(filepath.Join(r.dir, treeDir, n.Name()))
		if err != nil {
			r.damaged(filepath.Join(treeDir, n.Name()), err)
			continue
		}
		if _, note, ok := bytes.Cut(b, []byte("\n")); ok {
			r.notes[wire.Epoch(raw)] = append(r.notes[wire.Epoch(raw)], note)
		}
	}
}

// OpenLogs is a reader of the logs and checkpoints of a journal alone, for
// records that were salvaged.
func OpenLogs(dir string) *Reader {
	r := &Reader{dir: dir}
	r.readNotes()
	return r
}

// Notes returns the cosigned checkpoints of an epoch that the journal keeps, as
// they were when the reader was opened.
func (r *Reader) Notes(id wire.Epoch) [][]byte { return r.notes[id] }

// Log opens the hashes of an epoch's log; os.ErrNotExist if there are none.
func (r *Reader) Log(id wire.Epoch) (*TreeFile, error) {
	if r.dir == "" {
		return nil, os.ErrNotExist
	}
	return OpenTree(r.dir, id)
}

// Live reports whether a keeper has the journal open. Its files were copied one
// after the other: of its last epoch some blocks may be here whose neighbours
// of another stream are not.
func (r *Reader) Live() bool { return r.tmp != "" }

// Numbers are those of consecutive blocks, both inclusive.
type Numbers struct{ From, To uint64 }

// Window returns the numbers of the blocks of a stream that have to do with a
// span of wall time (ns; 0: open), with one more on either side if it is here:
// so that the times beside them show that these were all. touched says that
// some block is within. What is here of the epoch may have holes between.
func (r *Reader) Window(id wire.Epoch, stream string, from, to int64) (n Numbers, touched, ok bool) {
	after := false // the block after the span is in
	k, _ := streamIndex(stream)
	for i := range r.stretches {
		s := &r.stretches[i]
		if s.at.epoch != id || s.at.stream != k {
			continue
		}
		err := r.headers(s, func(first, last uint64, wallFrom, wallTo int64) {
			switch {
			case from != 0 && !touched && wallTo < from:
				n, ok = Numbers{first, last}, true
			case to != 0 && wallFrom > to:
				if !ok {
					n, ok, after = Numbers{first, last}, true, true
				} else if !after {
					n.To, after = last, true
				}
			default:
				if !ok {
					n.From, ok = first, true
				}
				n.To, touched, after = last, true, false
			}
		})
		if err != nil {
			r.damaged(s.at.file, err)
		}
	}
	return n, touched, ok
}

// headers calls f with what is said before the body of each block of a stretch.
func (r *Reader) headers(s *stretch, f func(first, last uint64, wallFrom, wallTo int64)) error {
	db, err := r.openAgain(slices.Index(r.files, s.at.file))
	if err != nil {
		return err
	}
	defer db.Close()
	return guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			blocks := blocksOf(tx)
			if blocks == nil {
				return fmt.Errorf("buckets: %w", ErrDamaged)
			}
			c := blocks.Cursor()
			var before []byte
			for k, _ := c.Seek(s.at.key); k != nil && bytes.Compare(k, s.last) <= 0; k, _ = c.Next() {
				if bytes.Compare(k, before) <= 0 { // or a damaged page leads round and round
					return fmt.Errorf("keys out of order: %w", ErrDamaged)
				}
				before = slices.Clone(k)
				_, _, first, ok := parseBlockKey(k)
				if !ok {
					continue
				}
				from, to := wallOf(blocks, k)
				f(first, max(first, first+countOf(blocks, k)-1), from, to)
			}
			return nil
		})
	})
}

// countOf reads how many records a block has; 1 of one that is damaged.
func countOf(blocks *blockBucket, key []byte) uint64 {
	v := blocks.get(key)
	if len(v) < blockHeader || v[4] != blockForm {
		return 1
	}
	return max(1, uint64(v[5])<<24|uint64(v[6])<<16|uint64(v[7])<<8|uint64(v[8]))
}

// BlocksFrom is Blocks, beginning with the block that begins with a number, or
// else with the next one.
func (r *Reader) BlocksFrom(id wire.Epoch, stream string, number uint64) *Blocks {
	b := r.Blocks(id, stream)
	for len(b.parts) > 1 && r.stretches[b.parts[1]].at.first <= number {
		b.parts = b.parts[1:]
	}
	if len(b.parts) > 0 {
		if ordinal, k, first, ok := parseBlockKey(r.stretches[b.parts[0]].at.key); ok && first < number {
			b.next = blockKey(ordinal, k, number)
		}
	}
	return b
}

// Rest returns the next block whatever its time; io.EOF where there is none.
func (b *Blocks) Rest() (Item, error) { return b.Next(math.MinInt64) }
