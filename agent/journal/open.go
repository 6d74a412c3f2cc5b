package journal

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"davy/agent/merkle"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

// Journal is an open journal.
type Journal struct {
	o    Options
	lock *os.File
	turn chan struct{} // whoever may write holds it

	mu        sync.Mutex
	closed    bool
	changed   chan struct{}
	uses      uint64 // of segments, counted
	segments  []*segment
	nextSeq   [families]uint64
	epochs    []*epoch // by ordinal; the last is the current one
	state     state    // as it will be written next
	moves     uint64   // of cursors
	saved     uint64   // moves that a transaction carried
	cursors   map[string]*Cursor
	reserve   bool         // the reserve file is there
	lacking   bool         // it could not be made; only for the log
	trusted   bool         // the clock was, when Retain was called last
	looked    int64        // mono time of that
	table     wire.Event   // the tag table that was recorded last
	tableAt   Pos          // its place
	newest    *segment     // with the newest state, which the journal must not be without
	pending   []wire.Event // to be recorded as soon as it can be
	holes     bool         // numbers may be missing without a name
	reopened  [families]bool
	stat      Stat
	abandoned int
	unsure    bool // the newest segment of events was set aside: nobody knows what the last state was

	tree       merkle.Tree
	sum        func([]byte) [32]byte // SHA-256
	treeOpen   *TreeFile             // of the holder of the turn
	treeSynced int64                 // mono
}

// Open opens or makes the journal in o.Dir and begins an epoch, whose first
// event is its Start record. It waits lockWait for another holder to go.
func Open(o Options) (*Journal, error) {
	o = o.withDefaults()
	j := &Journal{o: o, turn: make(chan struct{}, 1), changed: make(chan struct{}), cursors: map[string]*Cursor{}, trusted: o.Trusted, looked: o.Now().Mono, sum: func(b []byte) [32]byte { return sha256.Sum256(b) }}
	if err := j.open(); err != nil {
		j.release()
		return nil, fmt.Errorf("open journal %s: %w", o.Dir, err)
	}
	return j, nil
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMax
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSize
	}
	size := min(o.SegmentBytes, MaxSegment, o.MaxBytes/8)
	// bbolt maps powers of two.
	o.SegmentBytes = max(minSegment, int64(1)<<(bits.Len64(uint64(size))-1))
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Disk == nil {
		o.Disk = func(string) error { return nil }
	}
	if o.Started == (tag.Stamp{}) {
		o.Started = o.Now()
	}
	return o
}

func (j *Journal) open() error {
	if err := j.o.Disk("open"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(j.o.Dir, "quarantine"), 0o700); err != nil {
		return err
	}
	if err := j.acquire(); err != nil {
		return err
	}
	if err := j.load(); err != nil {
		return err
	}
	j.reserve = allocated(j.reservePath()) > 0
	j.loadTrees()
	j.loadWitnesses()
	if err := j.begin(); err != nil {
		return err
	}
	j.forgetTrees()
	j.treeSynced = j.o.Now().Mono
	j.fillReserve()
	j.holes = true
	return j.flush()
}

// acquire takes the directory's lock.
func (j *Journal) acquire() error {
	f, err := os.OpenFile(filepath.Join(j.o.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			j.lock = f
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return err
		case try >= int(lockWait/lockPoll):
			f.Close()
			return ErrLocked
		}
		time.Sleep(lockPoll)
	}
}

// release closes all files and gives the directory back.
func (j *Journal) release() {
	j.mu.Lock()
	j.closed = true
	all := j.segments
	j.mu.Unlock()
	for _, s := range all {
		j.shut(s, true)
	}
	j.shutTree()
	if j.lock != nil {
		j.lock.Close()
	}
}

// find reads the segments that are there, and sets aside what is damaged.
func (j *Journal) find() (byID map[wire.Epoch]*epoch, err error) {
	names, err := os.ReadDir(j.o.Dir)
	if err != nil {
		return nil, err
	}
	byID = map[wire.Epoch]*epoch{}
	for _, n := range names {
		if strings.HasSuffix(n.Name(), ".seg.new") {
			// Never renamed: nobody was told of anything in it.
			if err := os.Remove(filepath.Join(j.o.Dir, n.Name())); err != nil {
				return nil, err
			}
			continue
		}
		f, seq, ok := parseSegment(n.Name())
		if !ok {
			continue
		}
		j.nextSeq[f] = max(j.nextSeq[f], seq+1)
		s := newSegmentAt(filepath.Join(j.o.Dir, n.Name()), f, seq)
		st, err := j.scan(s, byID)
		if damage(err) {
			if err := j.setAside(s, err); err != nil {
				return nil, err
			}
			if f == eventFamily {
				j.unsure = true
			}
			continue
		}
		if err != nil {
			j.shut(s, true) // or the next opening would wait for this one's lock
			return nil, fmt.Errorf("segment %s: %w", n.Name(), err)
		}
		if f == eventFamily { // names come in order: this one is newer than those before
			j.unsure = false
		}
		if st.version > j.state.version {
			j.state, j.newest = st, s
		}
		j.segments = append(j.segments, s)
	}
	slices.SortFunc(j.segments, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.seq, b.seq))
	})
	return byID, nil
}

// load finds what is there.
func (j *Journal) load() error {
	byID, err := j.find()
	if err != nil {
		return err
	}
	if j.settleLate(byID[j.state.epoch]) {
		for _, s := range j.segments {
			j.shut(s, true)
		}
		unsure := j.unsure
		j.segments, j.state, j.newest = nil, state{}, nil
		if byID, err = j.find(); err != nil {
			return err
		}
		j.unsure = j.unsure || unsure
	}
	for _, p := range j.state.past {
		if byID[p.id] == nil {
			byID[p.id] = &epoch{id: p.id, ordinal: p.ordinal}
		}
		for k, n := range p.heads {
			byID[p.id].raise(k, head{number: n})
		}
	}
	for _, e := range byID {
		j.epochs = append(j.epochs, e)
	}
	sortEpochs(j.epochs)
	if len(j.pending) > 0 {
		j.gapsAgain() // what is set aside has been read so far
	}
	for _, e := range j.epochs {
		if e.id == j.state.epoch {
			for k, h := range j.state.heads {
				e.raise(k, h)
			}
			e.leaves = max(e.leaves, j.state.leaves)
		}
	}
	for _, c := range j.state.cursors {
		j.cursors[c.name] = j.loadCursor(c)
	}
	for _, name := range j.o.MustConfirm {
		if j.cursors[name] == nil {
			j.cursors[name] = j.newCursor(name)
		}
	}
	return nil
}

func sortEpochs(es []*epoch) {
	slices.SortFunc(es, func(a, b *epoch) int {
		return cmp.Or(cmp.Compare(a.ordinal, b.ordinal), strings.Compare(string(a.id[:]), string(b.id[:])))
	})
}

func (e *epoch) raise(stream int, h head) {
	if h.number > e.heads[stream].number {
		e.heads[stream] = h
	}
}

// scan reads what a segment holds: the first and the last block of every
// stream and epoch are verified, those between when they are read.
func (j *Journal) scan(s *segment, byID map[wire.Epoch]*epoch) (st state, err error) {
	s.bytes = allocated(s.path)
	err = j.view(s, func(tx *bolt.Tx) error {
		blocks, epochs, gaps, states := blocksOf(tx), tx.Bucket(bucketEpochs), tx.Bucket(bucketGaps), tx.Bucket(bucketState)
		if blocks == nil || epochs == nil || gaps == nil || states == nil {
			return fmt.Errorf("buckets: %w", ErrDamaged)
		}
		if st, err = decodeState(states.Get(keyState)); err != nil {
			return err
		}
		here := map[uint32]*epoch{}
		err := epochs.ForEach(func(k, v []byte) error {
			if len(k) != 4 || len(v) != 16 {
				return fmt.Errorf("epochs: %w", ErrDamaged)
			}
			ordinal := binary.BigEndian.Uint32(k)
			id := wire.Epoch(v)
			if byID[id] == nil {
				byID[id] = &epoch{id: id, ordinal: ordinal}
			}
			here[ordinal] = byID[id]
			return nil
		})
		if err != nil {
			return err
		}
		if s.gaps, err = scanGaps(gaps, byID); err != nil {
			return err
		}
		s.runs, err = scanRuns(blocks, here)
		return err
	})
	if err != nil {
		return st, err
	}
	s.lived, s.version = st.lived, st.version
	for _, r := range s.runs {
		r.epoch.raise(r.stream, head{r.last, r.after})
		r.epoch.leaves = max(r.epoch.leaves, r.leafTo+1)
	}
	return st, nil
}

func scanRuns(blocks *blockBucket, here map[uint32]*epoch) (runs []run, err error) {
	c := blocks.Cursor()
	var before []byte
	for k, _ := c.First(); k != nil; {
		if bytes.Compare(k, before) <= 0 { // or a damaged page leads round and round
			return nil, fmt.Errorf("keys out of order: %w", ErrDamaged)
		}
		before = slices.Clone(k)
		ordinal, stream, first, ok := parseBlockKey(k)
		e := here[ordinal]
		if !ok || e == nil {
			return nil, fmt.Errorf("block %x: %w", k, ErrDamaged)
		}
		start, _, err := readHeader(blocks, e.id, k)
		if err != nil {
			return nil, err
		}
		next, _ := c.Seek(blockKey(ordinal, stream, math.MaxUint64))
		next = slices.Clone(next)
		var lastKey []byte
		if next == nil {
			lastKey, _ = c.Last()
		} else {
			lastKey, _ = c.Prev()
		}
		end, _, err := readHeader(blocks, e.id, lastKey)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run{
			epoch: e, stream: stream, first: first, last: end.Block.Last(), before: start.Block.RootBefore, after: end.rootAfter(),
			wallFrom: start.WallFrom, wallTo: end.WallTo, leafFrom: start.Block.Leaf, leafTo: end.Block.Leaf,
		})
		if next == nil {
			break
		}
		k, _ = c.Seek(next)
	}
	return runs, nil
}

// The key of a gap names its epoch by id, because the segment may hold no
// other record of it.
func gapKey(id wire.Epoch, stream int, from uint64) []byte {
	b := append([]byte(nil), id[:]...)
	b = append(b, byte(stream))
	return binary.BigEndian.AppendUint64(b, from)
}

func scanGaps(b *bolt.Bucket, byID map[wire.Epoch]*epoch) (n int, err error) {
	err = b.ForEach(func(k, v []byte) error {
		if len(k) != 25 || len(v) != 44 || k[16] >= streams {
			return fmt.Errorf("gaps: %w", ErrDamaged)
		}
		id, stream := wire.Epoch(k[:16]), int(k[16])
		if byID[id] == nil {
			byID[id] = &epoch{id: id, ordinal: binary.BigEndian.Uint32(v[40:])}
		}
		g := gap{from: binary.BigEndian.Uint64(k[17:]), to: binary.BigEndian.Uint64(v)}
		copy(g.root[:], v[8:])
		byID[id].addGap(stream, g)
		n++
		return nil
	})
	return n, err
}

// addGap reports whether the gap was new; else it was carried over to another file.
func (e *epoch) addGap(stream int, g gap) bool {
	if slices.Contains(e.gaps[stream], g) {
		return false
	}
	e.gaps[stream] = append(e.gaps[stream], g)
	slices.SortFunc(e.gaps[stream], func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	e.raise(stream, head{g.to, g.root})
	return true
}

// begin begins the epoch of this opening.
func (j *Journal) begin() error {
	now := j.o.Now()
	start := &wire.Start{Version: j.o.Version, Boot: j.o.Boot, Plan: j.o.Plan, Clean: true}
	ordinal := uint32(1)
	if n := len(j.epochs); n > 0 {
		ordinal = j.epochs[n-1].ordinal + 1
	}
	for _, c := range j.state.cursors {
		for _, a := range c.at {
			ordinal = max(ordinal, a.low)
		}
	}
	if j.state.version > 0 {
		start.Parent = slices.Clone(j.state.epoch[:])
		start.Clean = j.state.clean
		start.ParentHeads = wireHeads(&j.state.heads)
		for _, e := range j.epochs {
			if e.id == j.state.epoch {
				start.ParentHeads = wireHeads(&e.heads)
			}
		}
		start.Unwatched = j.unwatched(now)
		start.ParentCheckpoint = j.lastCheckpoint(j.state.epoch)
	}
	if j.unsure { // every epoch begins in that segment or a later one: there may have been one
		start.Clean, start.Unwatched = false, -1
	}
	if !start.Clean {
		start.MayHaveLost = uint64(max(0, j.o.Sync))
		// Where somebody watched and nothing could be written for longer than that,
		// the last transaction says how long.
		if since := now.Mono - j.state.beat.Mono - max(0, start.Unwatched); j.state.version > 0 && j.o.Boot != "" && j.state.boot == j.o.Boot && since > 2*int64(j.o.Sync) {
			start.MayHaveLost = uint64(since)
		}
	}
	e := &epoch{ordinal: ordinal}
	rand.Read(e.id[:])
	j.epochs = append(j.epochs, e)
	j.state.epoch, j.state.heads, j.state.leaves, j.state.clean = e.id, [streams]head{}, 0, false
	event := wire.Event{Kind: uint32(ring.EpochStarted), At: now, Start: start}
	for {
		err := j.commit(eventFamily, eventBlocks(eventStream, []wire.Event{event}), nil, func(st *state) { st.boot, st.beat = j.o.Boot, now })
		if !full(err) {
			return err
		}
		// No gap may come before the first record, so only what is confirmed goes.
		s := j.victim(false)
		switch {
		case s != nil && len(j.o.MustConfirm) > 0 && j.confirmed(s):
			if err := j.remove(s); err != nil {
				return err
			}
		case !j.giveReserve():
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
}

// unwatched returns how long nobody decided, in ns, -1 if nobody knows.
func (j *Journal) unwatched(now tag.Stamp) int64 {
	last := j.state.beat
	switch {
	case last == (tag.Stamp{}):
		return -1
	case j.state.boot == j.o.Boot && j.o.Boot != "":
		if j.o.Started.Mono < last.Mono {
			return 0 // the decider ran on; only the keeper was away
		}
		return j.o.Started.Mono - last.Mono
	case j.o.Trusted && j.o.Started.Wall >= last.Wall:
		return j.o.Started.Wall - last.Wall
	}
	return -1
}

func wireHeads(heads *[streams]head) []wire.Head {
	out := make([]wire.Head, streams)
	for k, h := range heads {
		out[k] = wire.Head{Stream: streamNames[k], Number: h.number, Root: h.root}
	}
	return out
}

// Close writes what is due, marks the end as clean and gives the directory back.
func (j *Journal) Close() error {
	if err := j.enter(); err != nil {
		if errors.Is(err, ErrClosed) {
			return nil
		}
		return err
	}
	defer j.leave()
	err := j.flush()
	if err == nil {
		err = j.commit(eventFamily, nil, nil, func(st *state) { st.clean = true })
	}
	j.tendTrees(true)
	j.release()
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// enter takes the turn to write.
func (j *Journal) enter() error {
	j.turn <- struct{}{}
	j.mu.Lock()
	closed, broken := j.closed, j.abandoned > maxAbandoned
	j.mu.Unlock()
	switch {
	case closed:
		<-j.turn
		return ErrClosed
	case broken:
		<-j.turn
		return ErrBroken
	}
	return nil
}

func (j *Journal) leave() { <-j.turn }
