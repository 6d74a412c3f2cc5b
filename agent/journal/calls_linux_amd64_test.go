// A file layer that fails, below bbolt: the kernel itself hands every call that
// changes a file to this test before it does it (seccomp, user notification),
// and the test answers "go on" or ENOSPC or EIO. So a failure falls within a
// commit, between its pages, its first fdatasync, its meta page and its second,
// where Options.Disk, which is asked before an operation, cannot reach; and
// nothing in the code under test knows of it. It is for amd64 because the
// numbers of the calls are, and qemu-user has no seccomp.

package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"davy/test/scale"
)

// calls counts the calls that change a file under a directory, and makes some fail.
type calls struct {
	fd    uintptr
	on    atomic.Bool
	n     atomic.Int64 // so far
	from  atomic.Int64 // the first that fails, from 1; 0: none
	until atomic.Int64 // the first that does not again
	errno atomic.Int32
	under string
}

// The calls that change a file, and where their arguments have a descriptor or a path.
var changing = map[int32]struct{ fd, path int }{
	syscall.SYS_PWRITE64:  {fd: 0, path: -1},
	syscall.SYS_FDATASYNC: {fd: 0, path: -1},
	syscall.SYS_FSYNC:     {fd: 0, path: -1},
	syscall.SYS_FTRUNCATE: {fd: 0, path: -1},
	syscall.SYS_FALLOCATE: {fd: 0, path: -1},
	syscall.SYS_OPENAT:    {fd: -1, path: 1},
	syscall.SYS_UNLINKAT:  {fd: -1, path: 1},
	syscall.SYS_RENAMEAT:  {fd: -1, path: 1},
}

// watchCalls installs the filter for this process and all of its threads; it cannot be taken off.
func watchCalls(under string) (*calls, error) {
	const (
		load, equal, answer = 0x20, 0x15, 0x06 // of BPF
		notify, allow       = 0x7fc00000, 0x7fff0000
		amd64               = 0xc000003e
	)
	prog := []syscall.SockFilter{{Code: load, K: 4}, {Code: equal, Jt: 1, K: amd64}, {Code: answer, K: allow}, {Code: load, K: 0}}
	for nr := range changing {
		prog = append(prog, syscall.SockFilter{Code: equal, Jf: 1, K: uint32(nr)}, syscall.SockFilter{Code: answer, K: notify})
	}
	prog = append(prog, syscall.SockFilter{Code: answer, K: allow})
	fprog := syscall.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	const (
		noNewPrivs      = 38
		seccomp, filter = 317, 1
		flags           = 1 | 8 | 16 // all threads, a listener, and an error if both cannot be
	)
	if _, _, err := syscall.Syscall6(syscall.SYS_PRCTL, noNewPrivs, 1, 0, 0, 0, 0); err != 0 {
		return nil, fmt.Errorf("prctl: %w", err)
	}
	fd, _, err := syscall.Syscall(seccomp, filter, flags, uintptr(unsafe.Pointer(&fprog)))
	if err != 0 {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	c := &calls{fd: fd, under: under}
	go c.serve()
	return c, nil
}

// serve answers the kernel. It makes none of the calls that it answers for.
func (c *calls) serve() {
	type request struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uintptr
	}
	type reply struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
	const receive, send, goOn = 0xc0502100, 0xc0182101, 1
	for {
		var r request
		_, _, err := syscall.Syscall(syscall.SYS_IOCTL, c.fd, receive, uintptr(unsafe.Pointer(&r)))
		if err == syscall.EINTR || err == syscall.ENOENT {
			continue
		}
		if err != 0 {
			panic(fmt.Sprintf("BUG: seccomp: %v", err))
		}
		a := reply{id: r.id, flags: goOn}
		if c.on.Load() && c.concerns(r.nr, &r.args) {
			if n, from := c.n.Add(1), c.from.Load(); from > 0 && n >= from && n < c.until.Load() {
				a.flags, a.errno = 0, -c.errno.Load()
			}
		}
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, c.fd, send, uintptr(unsafe.Pointer(&a))) // whoever waited may be gone
	}
}

// concerns reports whether a call is about a file of the journal, and changes it.
func (c *calls) concerns(nr int32, args *[6]uintptr) bool {
	at := changing[nr]
	if at.fd >= 0 {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", args[at.fd]))
		return err == nil && strings.HasPrefix(name, c.under)
	}
	if nr == syscall.SYS_OPENAT && args[2]&syscall.O_ACCMODE == syscall.O_RDONLY {
		return false
	}
	// The caller is a thread of this process that waits: its string is still
	// there, and the kernel copies it as it would for another process.
	const copyFrom = 310 // process_vm_readv
	name := make([]byte, len(c.under))
	type span struct{ at, size uintptr }
	to := span{uintptr(unsafe.Pointer(&name[0])), uintptr(len(name))}
	from := span{args[at.path], uintptr(len(name))}
	n, _, err := syscall.Syscall6(copyFrom, uintptr(os.Getpid()), uintptr(unsafe.Pointer(&to)), 1, uintptr(unsafe.Pointer(&from)), 1, 0)
	runtime.KeepAlive(name)
	return err == 0 && string(name[:n]) == c.under
}

// aWhile is a run of the journal with all that it does: it gives n batches,
// with receipts, retention, segments that fill, a size limit and two openings.
func aWhile(t *testing.T, c *calls, dir string, n int) {
	w := newWorldAt(t, 2, dir, func(on bool) { c.on.Store(on) })
	w.fails = true
	for i := range n {
		w.step = i
		w.append(i%2 == 0, i%2 == 1)
		switch i % 8 {
		case 3:
			w.pull(w.dests[0])
		case 5:
			w.retain()
		}
		if i == n/3 || i == 2*n/3 {
			w.close()
			w.start()
		}
	}
	c.from.Store(0)
	for range 3 { // it works again by itself
		w.append(true, true)
	}
	if len(w.pending.Events)+len(w.pending.Readings)+len(w.pending.Health) > 0 {
		w.fatalf("it does not take anything again")
	}
	w.end()
}

const callsEnv = "DAVY_JOURNAL_CALLS"

func TestFailingCalls(t *testing.T) {
	if os.Getenv(callsEnv) == "" {
		exe, err := os.Executable()
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		cmd := exec.CommandContext(ctx, exe, "-test.run=^TestFailingCalls$", "-test.v", "-test.timeout=2h")
		// A signal would make the kernel ask about the same call twice.
		cmd.Env = append(os.Environ(), callsEnv+"=1", "GODEBUG=asyncpreemptoff=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "calls") {
				t.Log(strings.TrimSpace(line))
			}
		}
		return
	}
	// Memory is as good as a disk here: what matters is what the calls answer.
	base, err := os.MkdirTemp("/dev/shm", "davy-calls-")
	if errors.Is(err, os.ErrNotExist) {
		base, err = t.TempDir(), nil
	}
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	c, err := watchCalls(base)
	must(t, err)
	const batches = 200
	aWhile(t, c, filepath.Join(base, "count"), batches)
	total := c.n.Load()
	if total < 5*batches {
		t.Fatalf("%d calls of %d batches: they are not seen", total, batches)
	}
	runs, all := scale.Of(3), int(total)*2
	rnd := rand.New(rand.NewPCG(uint64(total), 3))
	if scale.Of(1) >= 10 { // make soak
		runs = all
	}
	for i := range runs {
		x := i
		if runs < all {
			x = rnd.IntN(all)
		}
		k, errno, streak := 1+int64(x/2), syscall.ENOSPC, int64(1) // once, or for a while
		if x%2 == 1 {
			errno = syscall.EIO
		}
		if rnd.IntN(2) == 0 {
			streak = 25
		}
		name := fmt.Sprintf("%d-%v-%d", k, errno, streak)
		dir := filepath.Join(base, "run")
		t.Run(name, func(t *testing.T) {
			c.n.Store(0)
			c.errno.Store(int32(errno))
			c.until.Store(k + streak)
			c.from.Store(k)
			aWhile(t, c, dir, batches)
		})
		must(t, os.RemoveAll(dir))
	}
	t.Logf("%d of %d ways to fail among %d calls", runs, all, total)
}
