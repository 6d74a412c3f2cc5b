// Command guest is the first and only program of the machine whose power
// test/powercut cuts. Its environment, which the kernel takes from its command
// line, says how: CUT_SEED, CUT_DM=1 (dm-flakey below ext4), CUT_NOSYNC=1 (fsync
// does nothing), CUT_OUTAGE=1 (little uplink, until the journal is full) and
// CUT_SPOIL="HOW:WHAT:N:DELAY" (the disk becomes HOW within the first operation
// WHAT after N of them, DELAY after it began).
//
// What it says on its first serial line, a line each:
//
//	mounted            the disk is there
//	opened             the journal is; what it held is in the file found.json
//	op WHAT            an operation of the disk begins: open, commit, roll, retention, cursor, aside
//	idle               it has ended
//	begin FIRST N      an Append with these serials (N may be 0) begins
//	end EVENT READING  it returned nil; the heads of both streams
//	block …            a block for the receiver, see send
//	fail WHAT: WHY     something returned an error
//	disk HOW           the disk is like this from now on; "disk …" before the change
//
// and what it is told: "receipt EPOCH STREAM NUMBER ROOT", "disk ok|eio|lie|flap".
//
// Imports: agent/clock, agent/journal, agent/wire, test/powercut/work.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lifetime is how long a machine lives that its host has forgotten.
const lifetime = 10 * time.Minute

// A disk that flaps does so this often, and is good or bad for at most so long.
const (
	flaps   = 60
	flapFor = 4 * time.Millisecond
)

// line is the serial line to the host.
type line struct {
	mu       sync.Mutex
	f        *os.File
	receipts chan string
}

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the first program of test/powercut's machine and of no other")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(4) // of the one processor: who spoils the disk does not wait for who uses it
	time.AfterFunc(lifetime, off)
	l := &line{receipts: make(chan string, 1)}
	err := l.open()
	if err == nil {
		err = run(l)
	}
	fmt.Println("guest:", err)
	if l.f != nil {
		l.say("fail guest: %v", err)
	}
	off()
}

// off ends the machine. Nothing is written first: it is used where there is
// nothing to be lost, or nobody listens any more.
func off() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func (l *line) open() error {
	f, err := os.OpenFile("/dev/ttyS0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0 // bytes as they are
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return err
	}
	l.f = f
	return nil
}

func (l *line) say(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " | ") + "\n"
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.WriteString(text); err != nil {
		fmt.Println("guest: serial line:", err)
		off()
	}
}

// listen hears the host until it goes, and the machine with it.
func (l *line) listen(d *disk) {
	lines := bufio.NewScanner(l.f)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "receipt":
			l.receipts <- rest
		case "disk":
			l.change(d, rest)
		}
	}
	off()
}

// change makes the disk what it is to be.
func (l *line) change(d *disk, how string) {
	l.say("disk …")
	if how == "flap" { // fails and works by turns, each for a few operations of the disk
		l.say("disk flap")
		for range flaps {
			for _, how := range []string{"eio", "ok"} {
				if err := d.become(how); err != nil {
					l.say("fail disk %s: %v", how, err)
				}
				time.Sleep(time.Duration(rand.Int64N(int64(flapFor))))
			}
		}
		return
	}
	if err := d.become(how); err != nil {
		l.say("fail disk %s: %v", how, err)
		return
	}
	l.say("disk %s", how)
}

// run works until the power goes; it returns only an error.
func run(l *line) error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	seed, err := strconv.ParseUint(os.Getenv("CUT_SEED"), 10, 64)
	if err != nil {
		return fmt.Errorf("CUT_SEED: %w", err)
	}
	d := &disk{}
	if err := d.mount("/disk", os.Getenv("CUT_DM") == "1"); err != nil {
		return err
	}
	l.say("mounted")
	go l.listen(d)
	if os.Getenv("CUT_NOSYNC") == "1" {
		if err := forgetSync(); err != nil {
			return fmt.Errorf("filter system calls: %w", err)
		}
	}
	w, err := begin(l, seed, os.Getenv("CUT_OUTAGE") == "1")
	if err == nil {
		err = w.plan(d, os.Getenv("CUT_SPOIL"))
	}
	if err != nil {
		return err
	}
	found, err := w.look()
	if err != nil {
		return err
	}
	if err := report(found); err != nil {
		return err
	}
	l.say("opened")
	return w.work()
}

// report writes a file in the root, which is the host's.
func report(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.Create("/" + reportName)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return unix.Syncfs(int(f.Fd())) // fsync may be filtered
}
