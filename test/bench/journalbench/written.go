package journalbench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"davy/test/bench/figure"
	"davy/test/floor/appendfile"
)

const (
	loopBytes    = 512 << 20
	warm         = 120  // seconds before sectors are counted
	counted      = 1200 // seconds
	writeback    = 30   // seconds after which the kernel writes what nobody synced
	syncsACommit = 2    // of the journal, and so of the reference
)

// Written prints the sectors that reach the disk, and reports whether the figure holds.
func Written(w io.Writer) bool {
	d, err := newDisk()
	if err != nil {
		return figure.Failed(w, nameWritten, err)
	}
	c, per, ref, err := d.compare()
	if err = errors.Join(err, d.close()); err != nil {
		return figure.Failed(w, nameWritten, err)
	}
	holds := figure.Print(w, nameWritten, c, "x", mostWritten)
	fmt.Fprintf(w, "  %s: %.4g B a reading, the append-only file %.4g; ext4 on %s, its image on the disk above\n", nameWritten, per, ref, d.loop)
	return holds
}

// disk is a file system on a loop device: what is written to it is counted by
// the kernel, sector by sector, and nobody else writes there.
type disk struct {
	dir, loop, at string
}

func newDisk() (d *disk, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a loop device wants root")
	}
	d = &disk{}
	if d.dir, err = os.MkdirTemp("", "journalbench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	image := filepath.Join(d.dir, "image")
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(loopBytes), f.Close()); err != nil {
		return nil, err
	}
	// Tables are made at once: made later, they would be counted.
	if _, err := tell("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return nil, err
	}
	if d.loop, err = tell("losetup", "--find", "--show", image); err != nil {
		return nil, err
	}
	at := filepath.Join(d.dir, "mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		return nil, err
	}
	if _, err := tell("mount", "-t", "ext4", "-o", "noatime", d.loop, at); err != nil {
		return nil, err
	}
	d.at = at
	return d, nil
}

func (d *disk) close() error {
	var err error
	if d.at != "" {
		_, e := tell("umount", d.at)
		err = errors.Join(err, e)
	}
	if d.loop != "" {
		_, e := tell("losetup", "--detach", d.loop)
		err = errors.Join(err, e)
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// tell runs a program of the system, which may be off a user's path.
func tell(name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// settle has the kernel write everything, and returns the bytes written so far.
func (d *disk) settle() (int64, error) {
	f, err := os.Open(d.at)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return 0, err
	}
	raw, err := os.ReadFile("/sys/block/" + filepath.Base(d.loop) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 7 {
		return 0, fmt.Errorf("%s has no statistics: %q", d.loop, raw)
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	return sectors * 512, err
}

// compare takes the bytes per reading of the journal, and of the append-only
// file that is given what the journal encoded.
func (d *disk) compare() (ratio, ours, reference float64, err error) {
	s, err := newSite(filepath.Join(d.at, "journal"), false)
	if err != nil {
		return 0, 0, 0, err
	}
	var bodies [][]byte
	take := func(body []byte) error { bodies = append(bodies, body); return nil }
	ours, err = d.count(func(seconds int) error { return s.run(seconds, take) })
	if err = errors.Join(err, s.close()); err != nil {
		return 0, 0, 0, err
	}
	a, err := appendfile.Create(filepath.Join(d.at, "append"))
	if err != nil {
		return 0, 0, 0, err
	}
	reference, err = d.count(func(seconds int) error {
		for range seconds / perCommit {
			if err := a.Append(bodies[0], syncsACommit); err != nil {
				return err
			}
			bodies = bodies[1:]
		}
		return nil
	})
	return ours / reference, ours, reference, errors.Join(err, a.Close())
}

// count returns the bytes that reach the device per reading. Time is simulated:
// what the kernel would write by itself meanwhile it is told to write.
func (d *disk) count(run func(seconds int) error) (float64, error) {
	if err := run(warm); err != nil {
		return 0, err
	}
	before, err := d.settle()
	if err != nil {
		return 0, err
	}
	after := before
	for at := 0; at < counted; at += 2 * writeback {
		if err := run(2 * writeback); err != nil {
			return 0, err
		}
		if after, err = d.settle(); err != nil {
			return 0, err
		}
	}
	return float64(after-before) / (counted * tags), nil
}
