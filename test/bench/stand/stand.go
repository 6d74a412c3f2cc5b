// Package stand holds what the benches of the running agent share: the real
// binaries, how they are started, and what the kernel says of their processes.
//
// The binaries are built into the cache that git ignores, so that a second
// build costs nothing. What is read of a process is its anonymous proportional
// share of memory, its processor time and the bytes it caused to be written;
// nothing of it is the process's own word.
//
// Imports: test/rig.
package stand

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"davy/test/rig"
)

// Faulty is the name of an agent whose keeper's disk obeys DAVY_FAULT_DISK.
const Faulty = "davy-fault"

// Build builds the named programs ("davy", Faulty, …) and returns their directory.
func Build(names ...string) (dir string, err error) {
	dir = filepath.Join(rig.Root(), ".cache", "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range names {
		if name != Faulty {
			if err := rig.Build(dir, name); err != nil {
				return "", err
			}
			continue
		}
		cmd := exec.Command("go", "build", "-trimpath", "-tags", "davyfault", "-o", filepath.Join(dir, name), "./cmd/davy")
		cmd.Dir = rig.Root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
}

// Mosquitto starts a broker of that make in r, Elsewhere, and returns its address.
func Mosquitto(r *rig.Rig) (addr string, err error) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/mosquitto") // where Debian has it, off a user's path
	}
	if err != nil {
		return "", fmt.Errorf("start broker: %w", err)
	}
	port, err := rig.FreePort()
	if err != nil {
		return "", err
	}
	conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n", port)
	if os.Geteuid() == 0 {
		conf += "user root\n" // or it becomes somebody who may not read the rig
	}
	if err := os.WriteFile(r.Path("mosquitto.conf"), []byte(conf), 0o600); err != nil {
		return "", err
	}
	p, err := r.Start(path, "-c", r.Path("mosquitto.conf"))
	if err != nil {
		return "", err
	}
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	err = rig.WaitFor(10*time.Second, "the broker listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close() // it was only to see whether somebody listens
		}
		return err == nil
	})
	if err != nil {
		return "", err
	}
	return addr, Elsewhere(p.Pid())
}

// Elsewhere gives a process the least share of the processors: on a plant it
// is another machine.
func Elsewhere(pid int) error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range tasks { // priority is each thread's own; those to come have it from these
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, 19); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("lower priority of thread %d: %w", tid, err)
		}
	}
	return nil
}

// Family is a process and its children: Davy's decider and its keeper.
func Family(pid int) []int { return append([]int{pid}, rig.Children(pid)...) }

// Share returns the anonymous proportional share of all the processes, in bytes.
func Share(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		n, ok := field(raw, "Pss_Anon:")
		if !ok {
			return 0, fmt.Errorf("memory of process %d: this kernel does not say Pss_Anon", pid)
		}
		sum += n << 10
	}
	return sum, nil
}

// Use is what processes have used so far.
type Use struct {
	CPU     time.Duration // user and system
	Written int64         // bytes that went, or have to go, to a disk
}

// Used adds up the processes' use.
func Used(pids []int) (u Use, err error) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return u, err
		}
		d, err := ticks(stat)
		if err != nil {
			return u, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		u.CPU += d
		io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			return u, err
		}
		if n, ok := field(io, "write_bytes:"); ok {
			u.Written += n
		}
		if n, ok := field(io, "cancelled_write_bytes:"); ok {
			u.Written -= n
		}
	}
	return u, nil
}

// Ran is how long all threads of the processes ran so far, by the scheduler's
// own account: finer than Used, which counts ticks. A process that ends takes
// its account with it.
func Ran(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(names) == 0 {
			return 0, fmt.Errorf("processor time of process %d: it is gone: %w", pid, err)
		}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				return 0, err
			}
			first, _, _ := strings.Cut(string(raw), " ")
			ns, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ns)
		}
	}
	return sum, nil
}

// field returns the number after a name at the beginning of a line.
func field(raw []byte, name string) (int64, bool) {
	for line := range bytes.Lines(raw) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if !ok {
			continue
		}
		if f := strings.Fields(string(rest)); len(f) > 0 {
			n, err := strconv.ParseInt(f[0], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// tick is the unit of /proc/PID/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// ticks reads user and system time; the name in parentheses may hold anything.
func ticks(stat []byte) (time.Duration, error) {
	_, rest, ok := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, fmt.Errorf("%q is no stat line", stat)
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is no stat line", stat)
	}
	return time.Duration(user+system) * tick, nil
}
