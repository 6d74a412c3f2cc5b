package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"davy/agent/wire"
)

// Limits of a Blocks, each with what happens at it.
const (
	aheadBlocks = 32      // read at one opening of a file; more at the next
	aheadBytes  = 2 << 20 // of their compressed bodies, about
)

// Span is an epoch as far as a Reader's files hold it. From and To are the
// wall times of the first and the last record that is here, Reading that of the
// last reading, 0 where there is none.
type Span struct {
	Epoch    wire.Epoch
	From, To int64
	Reading  int64
}

// stretch is what one file holds of one stream of one epoch.
type stretch struct {
	at       located // its first block
	last     []byte  // key of its last
	from, to int64   // wall
}

// Spans returns the epochs in the order in which they began, as WalkInTime has
// them. What cannot be read is told in Damaged and left out.
func (r *Reader) Spans() []Span {
	r.stretches, r.Damaged = nil, nil
	for i := range r.files {
		if err := r.stretchesOf(i); err != nil {
			r.damaged(r.files[i], err)
		}
	}
	slices.SortStableFunc(r.stretches, func(a, b stretch) int {
		return cmp.Or(bytes.Compare(a.at.epoch[:], b.at.epoch[:]), cmp.Compare(a.at.stream, b.at.stream), cmp.Compare(a.at.first, b.at.first))
	})
	firsts := make([]located, len(r.stretches))
	for i := range r.stretches {
		firsts[i] = r.stretches[i].at
	}
	var file one
	rank := ranks(firsts, &file)
	file.close()
	spans := make([]Span, len(rank))
	for i := range r.stretches {
		s := &r.stretches[i]
		x := &spans[rank[s.at.epoch]]
		if x.From == 0 || s.from < x.From {
			x.From = s.from
		}
		x.Epoch, x.To = s.at.epoch, max(x.To, s.to)
		if s.at.stream == readingStream {
			x.Reading = max(x.Reading, s.to)
		}
	}
	return spans
}

func (r *Reader) damaged(path string, err error) {
	r.Damaged = append(r.Damaged, filepath.Base(path)+": "+err.Error())
}

// stretchesOf looks at the ends of what a file holds, and at nothing between.
func (r *Reader) stretchesOf(file int) error {
	db, err := r.openAgain(file)
	if err != nil {
		return err
	}
	defer db.Close()
	return guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			blocks, epochs := blocksOf(tx), tx.Bucket(bucketEpochs)
			if blocks == nil || epochs == nil {
				return fmt.Errorf("buckets: %w", ErrDamaged)
			}
			c := blocks.Cursor()
			var before []byte
			for k, _ := c.First(); k != nil; {
				if bytes.Compare(k, before) <= 0 { // or a damaged page leads round and round
					return fmt.Errorf("keys out of order: %w", ErrDamaged)
				}
				before = slices.Clone(k)
				ordinal, stream, first, ok := parseBlockKey(k)
				if !ok {
					k, _ = c.Next()
					continue
				}
				s := stretch{at: located{r.files[file], wire.Epoch{}, stream, first, slices.Clone(k)}}
				next := blockKey(ordinal, stream+1, 0)
				if last, _ := c.Seek(next); last == nil {
					last, _ = c.Last()
					s.last = slices.Clone(last)
				} else {
					last, _ = c.Prev()
					s.last = slices.Clone(last)
				}
				if id := epochs.Get(binary.BigEndian.AppendUint32(nil, ordinal)); len(id) == 16 {
					s.at.epoch = wire.Epoch(id)
					s.from, _ = wallOf(blocks, s.at.key)
					_, s.to = wallOf(blocks, s.last)
					r.stretches = append(r.stretches, s)
				}
				k, _ = c.Seek(next)
			}
			return nil
		})
	})
}

// wallOf reads the times of a block without its body. Of one that is damaged
// nothing is known: it may be of any time.
func wallOf(blocks *blockBucket, key []byte) (from, to int64) {
	v := blocks.get(key)
	if len(v) < blockHeader || v[4] != blockForm {
		return math.MinInt64, math.MaxInt64
	}
	return int64(binary.BigEndian.Uint64(v[9:])), int64(binary.BigEndian.Uint64(v[17:]))
}

// openAgain opens a file for a short while. One that a keeper has taken since
// the last look is copied.
func (r *Reader) openAgain(file int) (*bolt.DB, error) {
	db, err := openShared(r.files[file])
	if !errors.Is(err, bolterr.ErrTimeout) {
		return db, err
	}
	path, err := r.copy(r.files[file])
	if err != nil {
		return nil, err
	}
	for i := range r.stretches {
		if r.stretches[i].at.file == r.files[file] {
			r.stretches[i].at.file = path
		}
	}
	r.files[file] = path
	return openShared(path)
}

// Blocks gives the blocks of one stream of one epoch in the order of their
// numbers. It holds no file open between two calls but for what it has read
// ahead, which is bounded: a keeper that starts meanwhile finds its files free.
type Blocks struct {
	r     *Reader
	parts []int // of r.stretches
	next  []byte
	ahead []Item
}

// Blocks returns those of a stream of an epoch that Spans named.
func (r *Reader) Blocks(id wire.Epoch, stream string) *Blocks {
	b := &Blocks{r: r}
	k, _ := streamIndex(stream)
	for i := range r.stretches {
		if s := &r.stretches[i]; s.at.epoch == id && s.at.stream == k {
			b.parts = append(b.parts, i)
		}
	}
	return b
}

// Next returns the next block that does not end before the wall time after;
// io.EOF where there is none. What cannot be read is told in the reader's
// Damaged and passed over.
func (b *Blocks) Next(after int64) (Item, error) {
	for {
		for len(b.ahead) > 0 {
			it := b.ahead[0]
			b.ahead[0] = Item{}
			b.ahead = b.ahead[1:]
			if it.WallTo >= after {
				return it, nil
			}
		}
		if len(b.parts) == 0 {
			return Item{}, io.EOF
		}
		s := &b.r.stretches[b.parts[0]]
		if s.to < after {
			b.parts, b.next = b.parts[1:], nil
			continue
		}
		if err := b.read(s, after); err != nil {
			b.r.damaged(s.at.file, err)
			b.parts, b.next = b.parts[1:], nil
		}
	}
}

// read fills ahead from one file.
func (b *Blocks) read(s *stretch, after int64) error {
	db, err := b.r.openAgain(slices.Index(b.r.files, s.at.file))
	if err != nil {
		return err
	}
	defer db.Close()
	b.ahead = b.ahead[:0:0]
	size := 0
	return guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			blocks := blocksOf(tx)
			if blocks == nil {
				return fmt.Errorf("buckets: %w", ErrDamaged)
			}
			c := blocks.Cursor()
			if b.next == nil {
				b.next = s.at.key
			}
			var before []byte
			for k, _ := c.Seek(b.next); ; k, _ = c.Next() {
				if k == nil || bytes.Compare(k, s.last) > 0 {
					b.parts, b.next = b.parts[1:], nil
					return nil
				}
				if bytes.Compare(k, before) <= 0 || bytes.Compare(k, b.next) < 0 { // or a damaged page leads round and round
					return fmt.Errorf("keys out of order: %w", ErrDamaged)
				}
				before = k
				if len(b.ahead) == aheadBlocks || size >= aheadBytes {
					b.next = slices.Clone(k)
					return nil
				}
				if _, to := wallOf(blocks, k); to < after {
					continue
				}
				it, err := readBlock(blocks, s.at.epoch, k)
				if err != nil {
					b.r.damaged(s.at.file, err)
					continue
				}
				size += len(it.Block.Body)
				b.ahead = append(b.ahead, it)
			}
		})
	})
}
