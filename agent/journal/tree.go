package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"davy/agent/merkle"
	"davy/agent/ring"
	"davy/agent/wire"
)

// The log of an epoch: a Merkle tree with one leaf per block, in the order of
// the commits, over all streams (wire.LeafData says what a leaf says). Its
// hashes lie in tree/<epoch>, which is written after a commit and without a
// sync: what a power cut takes of it is made again from the blocks, whose
// headers hold all that a leaf says. It is synced at intervals and before a
// segment goes, and its header then says how far, and the root there, which is
// what the file is held against when it is opened. Where hashes are gone that
// no block gives back, the log of that epoch is broken: an event says so, once,
// and it proves nothing any more. Nothing that happens to such a file fails a
// commit.

// Limits, each with what happens at it.
const (
	treeDir       = "tree"
	treeSyncEvery = 5 * time.Minute // between two syncs of a log that grows; the rest is made again from blocks after a power cut
	maxWaiting    = 64 << 10        // hashes in memory while the disk takes none; beyond them they are made again from blocks, later
	maxBorrowed   = 4096            // leaves without a block that a log being mended takes from its file; more: broken
	mendLeaves    = 1024            // leaves mended with one read and one write
)

// What can be wrong with a log.
var (
	ErrNoLog     = errors.New("no log of this epoch is here")
	ErrLogBroken = errors.New("log is broken")            // hashes are gone for good
	ErrLogWaits  = errors.New("log waits for its disk")   // they will be there later
	ErrLogGone   = errors.New("witnessed and given up")   // the leaf's hash is part of a subtree of which only the root is kept
	errTorn      = errors.New("log's file does not hold") // what it should
)

// tree is the log of one epoch. Only the holder of the turn changes it, under
// the journal's mutex.
type tree struct {
	size    int64         // leaves
	edge    []merkle.Hash // the roots of the complete subtrees that make them up, the largest first
	written int64         // leaves whose hashes are in the file,
	done    []merkle.Hash // and the edge of those
	wait    []merkle.Hash // of the leaves after those, unless behind
	behind  bool          // they were too many: blocks give them back
	unread  bool          // the file could not be read yet
	gone    bool          // no record of the epoch is here, and no file
	lost    string        // why the log is broken; "": it is not
	synced  int64         // leaves that the header on the disk speaks of
	seq     uint64        // of the header
	shrunk  int64         // of the leaves before, only roots of subtrees are kept
	bytes   int64         // of the file
	failed  bool          // the last write failed; only for the log
	witness map[string]*witnessed
}

// pushed returns the hashes to store for one more leaf, and the edge after it.
func (j *Journal) pushed(size int64, edge []merkle.Hash, leaf merkle.Hash) (stored, after []merkle.Hash) {
	stored, _ = j.tree.Add(size, leaf, func(int64) (merkle.Hash, error) {
		h := edge[len(edge)-1]
		edge = edge[:len(edge)-1]
		return h, nil
	})
	return stored, append(edge, stored[len(stored)-1])
}

// rootOf returns the root of a log of size leaves whose edge is known.
func (j *Journal) rootOf(size int64, edge []merkle.Hash) merkle.Hash {
	n := 0
	root, _ := j.tree.Root(size, func(int64) (merkle.Hash, error) {
		n++
		return edge[n-1], nil
	})
	return root
}

// grow adds leaves to the log of the current epoch and writes them, if the
// disk takes them.
func (j *Journal) grow(e *epoch, leaves []merkle.Hash) {
	t := &e.tree
	if len(leaves) == 0 || t.lost != "" {
		return
	}
	size, edge := t.size, slices.Clone(t.edge)
	var stored []merkle.Hash
	for _, h := range leaves {
		var more []merkle.Hash
		more, edge = j.pushed(size, edge, h)
		stored = append(stored, more...)
		size++
	}
	j.mu.Lock()
	t.size, t.edge = size, edge
	switch {
	case t.behind:
	case len(t.wait)+len(stored) > maxWaiting:
		t.behind, t.wait = true, nil
	default:
		t.wait = append(t.wait, stored...)
	}
	j.mu.Unlock()
	if !t.behind {
		j.told(e, j.writeTree(e))
	}
}

// told logs that a log's file takes nothing, and that it does again.
func (j *Journal) told(e *epoch, err error) {
	t := &e.tree
	switch {
	case err != nil && !t.failed:
		j.o.Log.Warn("log of an epoch cannot be written, checkpoints wait", "epoch", hex.EncodeToString(e.id[:]), "error", err)
	case err == nil && t.failed:
		j.o.Log.Info("log of an epoch is written again", "epoch", hex.EncodeToString(e.id[:]))
	}
	t.failed = err != nil
}

// writeTree writes the hashes that wait.
func (j *Journal) writeTree(e *epoch) error {
	t := &e.tree
	if len(t.wait) == 0 || t.lost != "" {
		return nil
	}
	if err := j.o.Disk("tree"); err != nil {
		return err
	}
	f, err := j.treeOf(e)
	if err != nil {
		return err
	}
	if err := f.put(merkle.Stored(t.written), t.wait); err != nil {
		j.shutTree()
		return err
	}
	j.mu.Lock()
	t.written, t.done, t.wait = t.size, t.edge, t.wait[:0]
	t.bytes = treeHeader + (merkle.Stored(t.size)-merkle.Stored(t.shrunk))*hashBytes
	j.mu.Unlock()
	return nil
}

// treeOf returns the open file of an epoch's log, made if there is none. One
// is held open: that of the epoch that is written to.
func (j *Journal) treeOf(e *epoch) (*TreeFile, error) {
	if j.treeOpen != nil && j.treeOpen.id == e.id {
		return j.treeOpen, nil
	}
	j.shutTree()
	if err := os.MkdirAll(filepath.Join(j.o.Dir, treeDir), 0o700); err != nil {
		return nil, err
	}
	f, err := openTree(j.treePath(e.id), e.id, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	j.treeOpen = f
	return f, nil
}

func (j *Journal) shutTree() {
	if j.treeOpen != nil {
		j.treeOpen.Close()
		j.treeOpen = nil
	}
}

func treeName(id wire.Epoch) string { return hex.EncodeToString(id[:]) }

func (j *Journal) treePath(id wire.Epoch) string {
	return filepath.Join(j.o.Dir, treeDir, treeName(id))
}

// syncTree makes a log durable and lets its header say how far.
func (j *Journal) syncTree(e *epoch) error {
	t := &e.tree
	if err := j.writeTree(e); err != nil {
		return err
	}
	if t.written != t.size || t.synced == t.size || t.lost != "" || t.unread {
		return nil
	}
	if err := j.o.Disk("tree"); err != nil {
		return err
	}
	f, err := j.treeOf(e)
	if err != nil {
		return err
	}
	h := treeHead{epoch: e.id, seq: t.seq + 1, size: t.size, root: j.rootOf(t.size, t.edge), shrunk: t.shrunk}
	if err := f.seal(h); err != nil {
		j.shutTree()
		return err
	}
	if t.synced == 0 { // the file's name
		if err := errors.Join(syncDir(filepath.Join(j.o.Dir, treeDir)), syncDir(j.o.Dir)); err != nil {
			return err
		}
	}
	j.mu.Lock()
	t.synced, t.seq, t.bytes = t.size, h.seq, allocated(j.treePath(e.id))
	j.mu.Unlock()
	return nil
}

// keepLeaves makes durable what the logs say of the blocks of a segment that
// is to go.
func (j *Journal) keepLeaves(s *segment) (err error) {
	for _, r := range s.runs {
		if t := &r.epoch.tree; t.lost == "" && t.synced <= int64(r.leafTo) {
			if t.behind || t.unread {
				err = errors.Join(err, j.mendTree(r.epoch))
			}
			err = errors.Join(err, j.syncTree(r.epoch))
		}
	}
	if err != nil {
		return fmt.Errorf("sync log: %w", err)
	}
	return nil
}

// tendTrees does what is due to the logs; what fails is tried again.
func (j *Journal) tendTrees(end bool) {
	now := j.o.Now().Mono
	due := end || now-j.treeSynced >= int64(treeSyncEvery) || now < j.treeSynced
	if due {
		j.treeSynced = now
	}
	for _, e := range j.epochs {
		t := &e.tree
		var err error
		switch {
		case t.lost != "" || t.gone:
			continue
		case t.unread || t.behind:
			err = j.mendTree(e)
		case due:
			err = j.syncTree(e)
		default:
			err = j.writeTree(e)
		}
		if err == nil && due {
			err = j.shrink(e)
		}
		j.told(e, err)
	}
	if due {
		j.saveWitnesses()
	}
}

// breakLog says that the log of an epoch can prove nothing any more.
func (j *Journal) breakLog(e *epoch, why string) {
	j.o.Log.Error("log of an epoch is broken", "epoch", treeName(e.id), "cause", why)
	j.mu.Lock()
	e.tree.lost, e.tree.wait, e.tree.unread, e.tree.behind = why, nil, false, false
	j.mu.Unlock()
	j.pending = append(j.pending, wire.Event{Kind: uint32(ring.JournalDamaged), Note: treeDir + "/" + treeName(e.id) + ": " + why})
	err := j.o.Disk("tree")
	if err == nil {
		var f *TreeFile
		if f, err = j.treeOf(e); err == nil {
			err = f.seal(treeHead{epoch: e.id, seq: e.tree.seq + 1, broken: true})
		}
	}
	if err != nil { // then it is said once more after the next opening
		j.o.Log.Warn("broken log could not be marked", "epoch", treeName(e.id), "error", err)
	}
	if e != j.epochs[len(j.epochs)-1] {
		j.shutTree()
	}
}

// forgetTrees deletes the files of epochs of which no record is here.
func (j *Journal) forgetTrees() {
	names, err := os.ReadDir(filepath.Join(j.o.Dir, treeDir))
	if err != nil {
		return
	}
	here := map[string]bool{}
	j.mu.Lock()
	here[treeName(j.epochs[len(j.epochs)-1].id)] = true
	for _, s := range j.segments {
		for _, r := range s.runs {
			here[treeName(r.epoch.id)] = true
		}
	}
	for _, e := range j.epochs {
		if !here[treeName(e.id)] {
			e.tree = tree{gone: true}
		}
	}
	j.mu.Unlock()
	for _, n := range names {
		if id, _, _ := strings.Cut(n.Name(), "."); here[id] {
			continue
		}
		if err := os.Remove(filepath.Join(j.o.Dir, treeDir, n.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.o.Log.Warn("file of a log that is no longer needed not removed", "file", n.Name(), "error", err)
		}
	}
}
