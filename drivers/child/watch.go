package child

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// Limits of what a child may write and take.
const (
	WatchEvery = 10 * time.Second // how often a child's memory is looked at
	MaxLine    = 1024             // bytes of one line of standard error that are logged; the rest of it is cut
	MaxLines   = 100              // lines logged of one child in a minute; more are counted, and the number is logged when the minute is over
)

// watch looks at a child's memory until it has ended or ctx has. What cannot be
// read (the child is just ending) is looked at again.
func watch(ctx context.Context, exited <-chan struct{}, pid int, limit int64) error {
	if limit <= 0 {
		return nil
	}
	t := time.NewTicker(WatchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-exited:
			return nil
		case <-t.C:
			if n, err := PSS(pid); err == nil && n > limit {
				return fmt.Errorf("%d bytes, limit %d: %w", n, limit, ErrLarge)
			}
		}
	}
}

// PSS returns the proportional memory of a process in bytes, from the kernel's
// smaps_rollup (proc(5)).
func PSS(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return pss(text)
}

// pss finds the line "Pss:   1234 kB".
func pss(text []byte) (int64, error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("Pss:"))
		if !ok {
			continue
		}
		words := bytes.Fields(rest)
		if len(words) == 2 && string(words[1]) == "kB" {
			if n, err := strconv.ParseInt(string(words[0]), 10, 53); err == nil && n >= 0 {
				return n << 10, nil
			}
		}
		break
	}
	return 0, errors.New("read memory: no Pss in kB")
}

// tell hands the child's standard error to the log, line by line, until it is closed.
func (p *Process) tell(r io.Reader) {
	in := bufio.NewReaderSize(r, MaxLine)
	minute, lines, dropped := time.Now(), 0, 0
	say := func() {
		if dropped > 0 && p.Log != nil {
			p.Log.Warn("child wrote more than is logged", "lines", dropped)
		}
		minute, lines, dropped = time.Now(), 0, 0
	}
	defer say()
	for {
		line, cut, err := in.ReadLine()
		if err != nil {
			return
		}
		text := string(bytes.ToValidUTF8(line, []byte("?")))
		for more := cut; more && err == nil; {
			_, more, err = in.ReadLine()
		}
		if time.Since(minute) > time.Minute {
			say()
		}
		if lines++; lines > MaxLines {
			dropped++
		} else if p.Log != nil {
			p.Log.Warn("child wrote", "line", text, "cut", cut)
		}
	}
}
