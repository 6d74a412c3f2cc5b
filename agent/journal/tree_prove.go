package journal

import (
	"errors"
	"fmt"
	"os"

	"davy/agent/merkle"
	"davy/agent/wire"
)

// LogHead returns how many leaves the log of an epoch has, and their root, as
// far as everything can be proved: while its file cannot be written it stays
// behind the records.
func (j *Journal) LogHead(id wire.Epoch) (size uint64, root merkle.Hash, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t, err := j.log(id)
	if err != nil {
		return 0, root, err
	}
	return uint64(t.written), j.rootOf(t.written, t.done), nil
}

// LogSize returns how many leaves the log of an epoch has, as LogHead does.
func (j *Journal) LogSize(id wire.Epoch) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t, err := j.log(id)
	if err != nil {
		return 0, err
	}
	return uint64(t.written), nil
}

// log returns the log of an epoch that is in order, under the mutex.
func (j *Journal) log(id wire.Epoch) (*tree, error) {
	e := j.epoch(id)
	switch {
	case e == nil || e.tree.gone:
		return nil, ErrNoLog
	case e.tree.lost != "":
		return nil, fmt.Errorf("%w: %s", ErrLogBroken, e.tree.lost)
	case e.tree.unread:
		return nil, ErrLogWaits
	}
	return &e.tree, nil
}

// reading calls f with the hashes of a log, of which there are size leaves at
// least. What f finds torn is looked at closely, mended, and read once more.
func (j *Journal) reading(id wire.Epoch, size uint64, f func(at merkle.At) error) error {
	for again := false; ; again = true {
		j.mu.Lock()
		t, err := j.log(id)
		switch {
		case err != nil:
		case size > uint64(t.size):
			err = fmt.Errorf("log of %d leaves: %w", t.size, merkle.ErrProof)
		case size > uint64(t.written):
			err = ErrLogWaits
		}
		j.mu.Unlock()
		if err != nil {
			return err
		}
		if err = j.o.Disk("tree"); err == nil {
			err = j.readTree(id, f)
		}
		if err == nil || again || !errors.Is(err, errTorn) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := j.CheckLog(id); err != nil {
			return err
		}
	}
}

func (j *Journal) readTree(id wire.Epoch, f func(at merkle.At) error) error {
	file, err := openTree(j.treePath(id), id, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	return f(file.At)
}

// LogRoot returns the root of the first size leaves of an epoch's log.
func (j *Journal) LogRoot(id wire.Epoch, size uint64) (root merkle.Hash, err error) {
	if n, now, err := j.LogHead(id); err == nil && n == size {
		return now, nil
	}
	err = j.reading(id, size, func(at merkle.At) (err error) {
		root, err = j.tree.Root(int64(size), at)
		return j.given(id, size, err)
	})
	if err != nil {
		return root, fmt.Errorf("root of %d leaves: %w", size, err)
	}
	return root, nil
}

// ProveGrowth returns the proof that the log of old leaves under oldRoot is the
// beginning of that of size leaves under root. It has been checked: hashes that
// do not prove it are damaged, and are made again first.
func (j *Journal) ProveGrowth(id wire.Epoch, size uint64, root merkle.Hash, old uint64, oldRoot merkle.Hash) (proof []merkle.Hash, err error) {
	err = j.reading(id, size, func(at merkle.At) (err error) {
		if proof, err = j.tree.ProveGrowth(int64(size), int64(old), at); err == nil {
			err = j.tree.CheckGrowth(proof, int64(size), root, int64(old), oldRoot)
		}
		return j.given(id, old, tornIf(err))
	})
	if err != nil {
		return nil, fmt.Errorf("prove %d leaves within %d: %w", old, size, err)
	}
	return proof, nil
}

// ProveLeaf returns the proof that a leaf is that of its number within the
// first size leaves, whose root is returned with it.
func (j *Journal) ProveLeaf(id wire.Epoch, size, leaf uint64) (proof []merkle.Hash, root merkle.Hash, err error) {
	j.mu.Lock()
	t, err := j.log(id)
	given := err == nil && leaf < uint64(t.shrunk) // up, unless its block is still here
	j.mu.Unlock()
	if err != nil {
		return nil, root, fmt.Errorf("prove leaf %d: %w", leaf, err)
	}
	err = j.reading(id, size, func(at merkle.At) (err error) {
		if root, err = j.tree.Root(int64(size), at); err != nil {
			return err
		}
		hash, err := at(merkle.Stored(int64(leaf)))
		if err == nil {
			proof, err = j.tree.ProveLeaf(int64(size), int64(leaf), at)
		}
		if err == nil {
			err = j.tree.CheckLeaf(proof, int64(size), int64(leaf), root, hash)
		}
		if err = tornIf(err); errors.Is(err, errTorn) && given {
			return ErrLogGone
		}
		return err
	})
	if err != nil {
		return nil, root, fmt.Errorf("prove leaf %d: %w", leaf, err)
	}
	return proof, root, nil
}

// given makes of hashes that are not there what that is where the first size
// leaves were given up: no damage, which would have the whole log read and made
// again each time that somebody asks.
func (j *Journal) given(id wire.Epoch, size uint64, err error) error {
	if !errors.Is(err, errTorn) {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if t, terr := j.log(id); terr == nil && size < uint64(t.shrunk) {
		return ErrLogGone
	}
	return err
}

// tornIf makes of a proof that does not hold what it is: a damaged file.
func tornIf(err error) error {
	if errors.Is(err, merkle.ErrProof) {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	return err
}
