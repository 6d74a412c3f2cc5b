package latch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockName is the lock's file in the state directory.
const LockName = "lock"

// ErrLocked says that another davy runs on this state directory.
var ErrLocked = errors.New("another davy runs here")

// Lock takes the state directory for this process, or says who has it
// (ErrLocked). It is held until Close, or until the process ends in whatever
// way. Children do not inherit it.
func Lock(dir string) (io.Closer, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		var note [32]byte
		n, _ := f.ReadAt(note[:], 0)
		_ = f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(note[:n]))); err == nil {
			return nil, fmt.Errorf("lock %s: %w: process %d", dir, ErrLocked, pid)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, ErrLocked)
	}
	// The number is for people; the lock does not rest on it, and a full disk
	// does not keep us from running.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}
