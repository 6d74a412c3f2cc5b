package journal

import (
	"bytes"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// blockBucket holds the blocks of a segment by key. Its bucket "b" holds
// nested buckets, one per group of blocks that follow each other in a stream,
// under the key of the first: a small one lies inline in the page of its
// parent, a large one has pages of its own. A block joins the group before it
// where that takes fewer pages than a group of its own, so that pages are full
// and hardly anything is written twice. (Measured, 2,000 readings a commit: one
// bucket per block wastes half of the file; plain values rewrite their
// neighbours, because bbolt splits no leaf of four keys or fewer.)
type blockBucket struct{ groups *bolt.Bucket }

// streamKey is how much of a key is epoch and stream.
const streamKey = 4 + 1

// Sizes in a file, as bbolt has them.
const (
	pageSize   = 4096
	pageHead   = 16
	pageEntry  = 16           // besides key and value
	fewKeys    = 4            // a leaf with no more is never split, however large
	smallGroup = pageSize / 8 // so little stays inline, and packs well there
	largeGroup = 4 * pageSize // more is not written again for the sake of a page; a block may be larger
)

// blocksOf returns the blocks of a segment, nil where the bucket is missing.
func blocksOf(tx *bolt.Tx) *blockBucket {
	b := tx.Bucket(bucketBlocks)
	if b == nil {
		return nil
	}
	return &blockBucket{b}
}

// get returns the bytes of a block, which live as long as the transaction; nil
// where there is none with this key.
func (b *blockBucket) get(key []byte) []byte {
	at := b.group(key)
	if at == nil {
		return nil
	}
	g := b.groups.Bucket(at)
	if g == nil {
		return nil
	}
	return g.Get(key)
}

// group returns the key of the last group that does not begin after key.
func (b *blockBucket) group(key []byte) []byte {
	c := b.groups.Cursor()
	at, _ := c.Seek(key)
	switch {
	case at == nil:
		at, _ = c.Last()
	case !bytes.Equal(at, key):
		at, _ = c.Prev()
	}
	return at
}

// put adds a block. Those of a stream come in the order of their keys.
func (b *blockBucket) put(key, value []byte) error {
	b.groups.FillPercent = 1 // it only grows at the end
	entry := pageEntry + len(key) + len(value)
	if at := b.group(key); at != nil && bytes.Equal(at[:streamKey], key[:streamKey]) {
		if g := b.groups.Bucket(at); g != nil {
			used, keys := pageHead, 0
			for k, v := range all(g) {
				used, keys = used+pageEntry+len(k)+len(v), keys+1
			}
			if joins(used, keys, entry) {
				g.FillPercent = 1
				return g.Put(key, value)
			}
		}
	}
	g, err := b.groups.CreateBucket(key)
	if err != nil {
		return err
	}
	return g.Put(key, value)
}

// remove takes a block out.
func (b *blockBucket) remove(key []byte) error {
	at := slices.Clone(b.group(key))
	if at == nil || b.groups.Bucket(at) == nil {
		return fmt.Errorf("block %x: %w", key, ErrDamaged)
	}
	g := b.groups.Bucket(at)
	if !bytes.Equal(at, key) {
		return g.Delete(key)
	}
	var rest [][2][]byte // a group has the key of its first
	for k, v := range all(g) {
		if !bytes.Equal(k, key) {
			rest = append(rest, [2][]byte{slices.Clone(k), slices.Clone(v)})
		}
	}
	if err := b.groups.DeleteBucket(at); err != nil || len(rest) == 0 {
		return err
	}
	g, err := b.groups.CreateBucket(rest[0][0])
	for _, kv := range rest {
		if err == nil {
			err = g.Put(kv[0], kv[1])
		}
	}
	return err
}

// all gives the keys and values of a bucket.
func all(b *bolt.Bucket) func(yield func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) {
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if !yield(k, v) {
				return
			}
		}
	}
}

// joins reports whether an entry belongs into a group of keys that takes used
// bytes: it saves a page there, or it and another of its size will.
func joins(used, keys, entry int) bool {
	size := used + entry
	if size > largeGroup || size > pageSize && keys == fewKeys {
		return false
	}
	alone, here := pages(pageHead+entry), pages(used)
	return pages(size) < here+alone || alone > 0 && keys < fewKeys-1 && size+entry <= largeGroup && pages(size+entry) < here+2*alone
}

// pages returns how many pages a group takes that are its own.
func pages(size int) int {
	if size <= smallGroup {
		return 0
	}
	return (size + pageSize - 1) / pageSize
}

// Cursor returns a cursor over all blocks, in the order of their keys.
func (b *blockBucket) Cursor() *blockCursor {
	return &blockCursor{b: b, outer: b.groups.Cursor()}
}

// ForEach calls f for every block until it returns an error.
func (b *blockBucket) ForEach(f func(k, v []byte) error) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if err := f(k, v); err != nil {
			return err
		}
	}
	return nil
}

// blockCursor goes over blocks as a bolt.Cursor does over keys. A group that
// is damaged is one key without a value.
type blockCursor struct {
	b     *blockBucket
	outer *bolt.Cursor
	inner *bolt.Cursor // in the group of outer; nil: the group is damaged
	ended bool         // Seek went beyond the last
}

// enter goes to the first or the last block of the group at key.
func (c *blockCursor) enter(key []byte, last bool) (k, v []byte) {
	c.inner, c.ended = nil, false
	if key == nil {
		return nil, nil
	}
	g := c.b.groups.Bucket(key)
	if g == nil {
		return key, nil
	}
	c.inner = g.Cursor()
	if k, v = c.inner.First(); !bytes.Equal(k, key) {
		c.inner = nil
		return key, nil
	}
	if last {
		k, v = c.inner.Last()
	}
	return k, v
}

func (c *blockCursor) First() (k, v []byte) {
	at, _ := c.outer.First()
	return c.enter(at, false)
}

func (c *blockCursor) Last() (k, v []byte) {
	at, _ := c.outer.Last()
	return c.enter(at, true)
}

func (c *blockCursor) Next() (k, v []byte) {
	if c.ended {
		return nil, nil
	}
	if c.inner != nil {
		if k, v = c.inner.Next(); k != nil {
			return k, v
		}
	}
	at, _ := c.outer.Next()
	return c.enter(at, false)
}

func (c *blockCursor) Prev() (k, v []byte) {
	if c.ended {
		return c.Last()
	}
	if c.inner != nil {
		if k, v = c.inner.Prev(); k != nil {
			return k, v
		}
	}
	at, _ := c.outer.Prev()
	return c.enter(at, true)
}

// Seek goes to the first block whose key is not less; where there is none,
// Prev goes to the last.
func (c *blockCursor) Seek(key []byte) (k, v []byte) {
	at, _ := c.outer.Seek(key)
	if at != nil && bytes.Equal(at, key) {
		return c.enter(at, false)
	}
	var before []byte
	if at == nil {
		before, _ = c.outer.Last()
	} else {
		before, _ = c.outer.Prev()
	}
	if before != nil {
		c.enter(before, false)
		if c.inner != nil {
			if k, v = c.inner.Seek(key); k != nil {
				return k, v
			}
		}
	}
	switch {
	case at == nil:
		c.inner, c.ended = nil, true
		return nil, nil
	case before == nil:
		at, _ = c.outer.First()
	default:
		at, _ = c.outer.Next()
	}
	return c.enter(at, false)
}
