// Package startbench takes the time from the start of the process until it
// watches: until every input was read and judged and no interlock is starting,
// with a journal of JournalBytes in its state directory that is not in memory.
//
// start.watching_s is the median of figure.Pairs starts of the real `davy run`
// on the bench plant's site; one more goes first and is dropped. Between two
// starts the agent is stopped in order, and the kernel is told to forget what
// it holds of the journal's files, as after power has come back. Its uplink
// finds no broker. What the keeper needs until it records is printed beside it,
// without a limit. The control is the same start with an empty journal.
//
// Imports: agent/clock, agent/journal, agent/operate, agent/ring, agent/wire,
// drivers/tag, test/bench/figure, test/bench/stand, test/rig.
package startbench

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"davy/agent/operate"
	"davy/test/bench/figure"
	"davy/test/bench/stand"
	"davy/test/rig"
)

const (
	name        = "start.watching_s"
	mostSeconds = 5
	startLimit  = time.Minute
	destination = "regulator"
)

// Run prints the figure and reports whether it holds.
func Run(w io.Writer) bool {
	b, err := prepare()
	if err != nil {
		return figure.Failed(w, name, err)
	}
	defer b.Close()
	empty, _, err := starts(b, 3)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	dir := filepath.Join(b.State(), "journal")
	if err := os.RemoveAll(dir); err != nil {
		return figure.Failed(w, name, err)
	}
	records, err := fill(dir, rig.Gateway, destination, JournalBytes)
	if err != nil {
		return figure.Failed(w, name, fmt.Errorf("fill journal: %w", err))
	}
	watching, recording, err := starts(b, figure.Pairs)
	if err != nil {
		return figure.Failed(w, name, err)
	}
	holds := figure.Print(w, name, figure.Median(watching), "s", mostSeconds)
	fmt.Fprintf(w, "  %s: spread %.3g to %.3g s, %d starts, %d records in the journal; with an empty one %.3g s\n",
		name, slices.Min(watching), slices.Max(watching), len(watching), records, figure.Median(empty))
	figure.Print(w, "start.recording_s", figure.Median(recording), "s")
	return holds
}

func prepare() (b *rig.Bench, err error) {
	bin, err := stand.Build("davy", "davy-plant")
	if err != nil {
		return nil, err
	}
	r, err := rig.New(bin)
	if err != nil {
		return nil, err
	}
	b = &rig.Bench{Rig: r}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	port, err := rig.FreePort()
	if err != nil {
		return nil, err
	}
	b.Broker = fmt.Sprintf("127.0.0.1:%d", port) // nobody listens there
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	b.Key = "ed25519:" + base64.StdEncoding.EncodeToString(public)
	if err := b.StartPlant(); err != nil {
		return nil, err
	}
	err = b.WriteSite(func(file, text string) string {
		return strings.Replace(text, "size: 500 MB", fmt.Sprintf("size: %d MB", maxJournal/1_000_000), 1)
	})
	if err != nil {
		return nil, err
	}
	return b, b.Apply("bench")
}

// starts starts and stops the agent n times and once before, and returns how
// long it took each time to watch and to record, in seconds.
func starts(b *rig.Bench, n int) (watching, recording []float64, err error) {
	for i := range n + 1 {
		if err := forget(filepath.Join(b.State(), "journal")); err != nil {
			return nil, nil, err
		}
		began := time.Now()
		if err := b.StartDavy(); err != nil {
			return nil, nil, err
		}
		if err := b.See(startLimit, "every input is judged", rig.Watching); err != nil {
			return nil, nil, err
		}
		watched := time.Since(began).Seconds()
		if err := b.See(startLimit, "the keeper records", func(v *operate.View) bool { return v.Keeper.State == operate.KeeperRunning }); err != nil {
			return nil, nil, err
		}
		recorded := time.Since(began).Seconds()
		if err := b.Davy.Stop(startLimit); err != nil {
			return nil, nil, fmt.Errorf("stop: %w", err)
		}
		if i > 0 {
			watching, recording = append(watching, watched), append(recording, recorded)
		}
	}
	return watching, recording, nil
}

// forget has the kernel drop what it holds in memory of a directory's files.
func forget(dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, x := range files {
		if !x.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(dir, x.Name()))
		if err != nil {
			return err
		}
		err = errors.Join(unix.Fsync(int(f.Fd())), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
		if err != nil {
			return fmt.Errorf("forget %s: %w", x.Name(), err)
		}
	}
	return nil
}
