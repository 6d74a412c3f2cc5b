package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Limits of a segment that is sound, each an error beyond it.
const (
	maxDepth   = 24      // pages above a key, through all buckets
	maxBuckets = 3       // nested: segment, blocks, group
	maxPages   = 1 << 10 // of one page of keys with its overflow; groups may have more
)

// The flags of a page.
const (
	branchPage = 0x01
	leafPage   = 0x02
	freePage   = 0x10
)

// sound looks at the shape of a segment before the library does, reading it as
// a file. The library trusts its pages: one flipped bit in a page number or in
// the kind of a page makes it go round and round, or deeper until the process
// dies of its stack, and no recover helps there. What is not looked at here, the
// records, has checksums of its own. For writing, the list of free pages is held
// against the pages that are used: one that is both would be written over.
func sound(path string, forWriting bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := &shape{f: f}
	free, root, err := s.meta()
	if err != nil {
		return err
	}
	if err := s.tree(root, 0, 0); err != nil {
		return err
	}
	if forWriting {
		return s.freelist(free)
	}
	return nil
}

// shape is a segment while it is looked at.
type shape struct {
	f    *os.File
	end  uint64 // the first page that is not of the file
	seen []byte // a bit per page
}

func (s *shape) bad(page uint64, what string) error {
	return fmt.Errorf("page %d: %s: %w", page, what, ErrDamaged)
}

// read reads up to n pages, of which the first must be there.
func (s *shape) read(page uint64, n int) ([]byte, error) {
	b := make([]byte, n*pageSize)
	got, err := s.f.ReadAt(b, int64(page)*pageSize)
	if errors.Is(err, io.EOF) {
		err = nil
		if got < n*pageSize {
			err = s.bad(page, "beyond the end of the file")
		}
	}
	return b, err
}

// meta chooses the meta page as the library does, and returns what it leads to.
func (s *shape) meta() (free, root uint64, err error) {
	b, err := s.read(0, 2)
	if err != nil {
		return 0, 0, err
	}
	le := binary.LittleEndian
	best := uint64(0)
	for i := range 2 {
		m := b[i*pageSize+pageHead:][:64]
		h := fnv.New64a()
		h.Write(m[:56])
		if le.Uint32(m) != 0xED0CDAED || h.Sum64() != le.Uint64(m[56:]) {
			continue
		}
		if txid := le.Uint64(m[48:]); s.end == 0 || txid > best {
			best, root, free, s.end = txid, le.Uint64(m[16:]), le.Uint64(m[32:]), le.Uint64(m[40:])
		}
	}
	if s.end < 4 || s.end > MaxSegment/pageSize {
		return 0, 0, s.bad(0, "no meta page is whole")
	}
	s.seen = make([]byte, s.end/8+1)
	return free, root, nil
}

// take reads a page's head, and marks the page and its overflow as used.
func (s *shape) take(page uint64) (first []byte, pages uint64, err error) {
	if page < 2 || page >= s.end {
		return nil, 0, s.bad(page, "not of the file")
	}
	if first, err = s.read(page, 1); err != nil {
		return nil, 0, err
	}
	pages = 1 + uint64(binary.LittleEndian.Uint32(first[12:]))
	if binary.LittleEndian.Uint64(first) != page || pages > s.end-page {
		return nil, 0, s.bad(page, "its head is not its own")
	}
	for p := page; p < page+pages; p++ {
		if s.seen[p/8]&(1<<(p%8)) != 0 {
			return nil, 0, s.bad(p, "used twice")
		}
		s.seen[p/8] |= 1 << (p % 8)
	}
	return first, pages, nil
}

// tree looks at a page of keys and at what it leads to.
func (s *shape) tree(page uint64, depth, bucket int) error {
	b, pages, err := s.take(page)
	if err != nil {
		return err
	}
	whole := int(pages) * pageSize
	if pages > 1 && bucket < maxBuckets-1 { // of a group the first page says where all lies
		if pages > maxPages {
			return s.bad(page, "too large")
		}
		if b, err = s.read(page, int(pages)); err != nil {
			return err
		}
	}
	if depth == maxDepth {
		return s.bad(page, "too deep")
	}
	return s.keys(page, b, whole, depth, bucket)
}

// keys looks at a page's entries; b is what was read of its whole bytes.
func (s *shape) keys(page uint64, b []byte, whole, depth, bucket int) error {
	le := binary.LittleEndian
	flags, count := le.Uint16(b[8:]), int(le.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || pageHead+count*pageEntry > len(b) || flags == branchPage && count == 0 {
		return s.bad(page, "no page of keys")
	}
	var before []byte
	for i := range count {
		at := pageHead + i*pageEntry
		e := b[at:][:pageEntry]
		pos, key, value := uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), uint64(0)
		if flags == leafPage {
			pos, key, value = uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		}
		begin := uint64(at) + pos
		if begin < uint64(pageHead+count*pageEntry) || begin+key+value > uint64(whole) {
			return s.bad(page, "an entry is not within it")
		}
		if begin+key+value > uint64(len(b)) {
			if flags != leafPage || le.Uint32(e) != 0 {
				return s.bad(page, "an entry is not where it should be")
			}
			continue // a block; it has its checksum
		}
		k := b[begin : begin+key]
		if i > 0 && bytes.Compare(before, k) >= 0 {
			return s.bad(page, "keys are out of order")
		}
		before = k
		var err error
		switch {
		case flags == branchPage:
			err = s.tree(le.Uint64(e[8:]), depth+1, bucket)
		case le.Uint32(e) == 1:
			err = s.bucket(page, b[begin+key:][:value], depth, bucket+1)
		case le.Uint32(e) != 0:
			err = s.bad(page, "an entry of no kind")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket looks at a nested bucket, whose pages are its own or lie in its value.
func (s *shape) bucket(page uint64, v []byte, depth, bucket int) error {
	if bucket == maxBuckets || len(v) < 16 {
		return s.bad(page, "a bucket that cannot be")
	}
	if root := binary.LittleEndian.Uint64(v); root != 0 {
		return s.tree(root, depth+1, bucket)
	}
	inline := v[16:]
	if len(inline) < pageHead || binary.LittleEndian.Uint16(inline[8:]) != leafPage {
		return s.bad(page, "a bucket within it is none")
	}
	return s.keys(page, inline, len(inline), depth, bucket)
}

// freelist looks at the list of free pages.
func (s *shape) freelist(page uint64) error {
	b, pages, err := s.take(page)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint16(b[8:]) != freePage {
		return s.bad(page, "no list of free pages")
	}
	if b, err = s.read(page, int(pages)); err != nil {
		return err
	}
	count, at := uint64(le.Uint16(b[10:])), pageHead
	if count == 0xffff {
		count, at = le.Uint64(b[pageHead:]), pageHead+8
	}
	if count > uint64(len(b)-at)/8 {
		return s.bad(page, "the list of free pages is not within it")
	}
	last := uint64(1)
	for i := range int(count) {
		id := le.Uint64(b[at+8*i:])
		if id <= last || id >= s.end || s.seen[id/8]&(1<<(id%8)) != 0 {
			return s.bad(id, "called free and is not")
		}
		last = id
	}
	return nil
}
