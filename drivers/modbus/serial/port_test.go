package serial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"davy/test/scale"
)

// pair opens a pseudo terminal: the master's end, and the path of the line.
func pair(t testing.TB) (master *os.File, line string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number, unlock int32
	err = raw.Control(func(fd uintptr) {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlock))); e != 0 {
			t.Error(e)
		}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCGPTN, uintptr(unsafe.Pointer(&number))); e != 0 {
			t.Error(e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return master, fmt.Sprintf("/dev/pts/%d", number)
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestBytesGoBothWays(t *testing.T) {
	master, line := pair(t)
	p := must[*Port](t)(Open(line, Default()))
	defer p.Close()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
	}{{p, master}, {master, p}} {
		must[int](t)(way.from.Write(every))
		got := make([]byte, len(every))
		must[int](t)(io.ReadFull(way.to, got))
		if string(got) != string(every) {
			t.Errorf("% x", got)
		}
	}
	if p.Sent() != 0 {
		t.Error("a pseudo terminal takes no time, but Sent is", p.Sent())
	}
}

func TestDeadlineEndsARead(t *testing.T) {
	_, line := pair(t)
	p := must[*Port](t)(Open(line, Default()))
	defer p.Close()
	var b [8]byte
	for _, wait := range []time.Duration{-time.Second, 0, 500 * time.Microsecond, 2 * time.Millisecond, 20 * time.Millisecond} {
		from := time.Now()
		if err := p.SetDeadline(from.Add(wait)); err != nil {
			t.Fatal(err)
		}
		n, err := p.Read(b[:])
		if took := time.Since(from); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || took < wait {
			t.Errorf("%v: %d %v after %v", wait, n, err, took)
		}
	}
}

func TestWhatHasComeIsReadAfterTheDeadline(t *testing.T) {
	master, line := pair(t)
	p := must[*Port](t)(Open(line, Default()))
	defer p.Close()
	var b [8]byte
	must[int](t)(master.Write([]byte("x")))
	if err := p.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(b[:]); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := p.Drain(b[:]); n != 0 || err != nil {
		t.Error(n, err)
	}
	must[int](t)(master.Write([]byte("yz")))
	if n, err := p.Drain(b[:]); n != 2 || err != nil {
		t.Error(n, err)
	}
	must[int](t)(master.Write([]byte("w")))
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Drain(b[:]); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestCloseAndSetDeadlineEndARead(t *testing.T) {
	for name, end := range map[string]func(p *Port){
		"close":    func(p *Port) { p.Close() },
		"deadline": func(p *Port) { _ = p.SetDeadline(time.Unix(1, 0)) },
	} {
		_, line := pair(t)
		p := must[*Port](t)(Open(line, Default()))
		ended := make(chan error)
		go func() {
			var b [8]byte
			_, err := p.Read(b[:])
			ended <- err
		}()
		runtime.Gosched()
		end(p)
		if err := <-ended; !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(name, err)
		}
		p.Close()
	}
}

// A tty that hung up reads 0 bytes for ever. Whoever takes that for nothing
// yet burns a processor until its deadline, or for ever.
func TestHangUpIsUnpluggedAndNoBusyLoop(t *testing.T) {
	for name, pull := range map[string]func(master *os.File, p *Port){
		"master closed": func(master *os.File, _ *Port) { master.Close() },
		"hung up": func(master *os.File, p *Port) {
			_ = p.raw.Control(func(fd uintptr) {
				_, _, e := unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCVHANGUP, 0)
				if e == unix.ENOSYS { // an emulator that does not know it
					master.Close()
				} else if e != 0 {
					t.Error("hang up:", e)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			master, line := pair(t)
			p := must[*Port](t)(Open(line, Default()))
			defer p.Close()
			if err := p.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			reads := make(chan error)
			go func() {
				var b [8]byte
				_, err := p.Read(b[:])
				reads <- err
			}()
			runtime.Gosched()
			pull(master, p)
			if err := <-reads; !errors.Is(err, ErrUnplugged) {
				t.Fatal("the read under way:", err)
			}
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			var b [8]byte
			for range 100 {
				if n, err := p.Read(b[:]); n != 0 || !errors.Is(err, ErrUnplugged) {
					t.Fatal(n, err)
				}
				if n, err := p.Drain(b[:]); n != 0 || !errors.Is(err, ErrUnplugged) {
					t.Fatal(n, err)
				}
				if _, err := p.Write(b[:]); !errors.Is(err, ErrUnplugged) {
					t.Fatal(err)
				}
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			if used > 2*time.Second { // a loop until the deadline would take the 20 s
				t.Error("300 calls took", used, "of processor time")
			}
		})
	}
}

func TestOneLineHasOneMaster(t *testing.T) {
	_, line := pair(t)
	link := filepath.Join(t.TempDir(), "by-path-1")
	if err := os.Symlink(line, link); err != nil {
		t.Fatal(err)
	}
	var lines Lines
	p := must[*Port](t)(lines.Open("detectors", link, Default()))
	_, err := lines.Open("pumps", line, Default())
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "detectors") || !strings.Contains(err.Error(), line) {
		t.Error("the other link:", err)
	}
	if _, err = new(Lines).Open("elsewhere", line, Default()); !errors.Is(err, ErrBusy) {
		t.Error("another table:", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error("closed twice:", err)
	}
	p = must[*Port](t)(lines.Open("pumps", line, Default()))
	p.Close()
	if _, err := lines.Open("gone", filepath.Join(t.TempDir(), "none"), Default()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if len(lines.held) != 0 {
		t.Error("still held:", lines.held)
	}
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	return len(must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd")))
}

func TestWhatIsNoLineIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	var lines Lines
	fds := descriptors(t)
	for _, path := range []string{file, "/dev/null", t.TempDir(), pipe, loop, loop + "/none"} {
		if p, err := Open(path, Default()); err == nil {
			p.Close()
			t.Error(path, "was opened")
		}
		if p, err := lines.Open("line", path, Default()); err == nil {
			p.Close()
			t.Error(path, "was opened")
		}
	}
	if n := descriptors(t); n != fds || len(lines.held) != 0 {
		t.Errorf("%d descriptors, %d before; held %v", n, fds, lines.held)
	}
	_, line := pair(t)
	s := Default()
	s.RS485 = RS485{On: true}
	if _, err := Open(line, s); err == nil || !strings.Contains(err.Error(), "rs485") {
		t.Error("a pseudo terminal switches no transceiver:", err)
	}
	p := must[*Port](t)(Open(line, Default())) // what was refused holds nothing
	p.Close()
}

// What the tty is set to, as the kernel says.
func TestSettingsReachTheKernel(t *testing.T) {
	_, line := pair(t)
	for _, text := range []string{"1200 7E2", "9600 8N1", "19200 8O1", "115200 8N2", "921600 8N1"} {
		s := must[Settings](t)(Parse(text))
		p := must[*Port](t)(Open(line, s))
		_ = p.raw.Control(func(fd uintptr) {
			got, err := unix.IoctlGetTermios(int(fd), unix.TCGETS2)
			right := err == nil && got.Ospeed == uint32(s.Baud)
			if err != nil { // an emulator without termios2, and without the speeds above 230,400
				if got, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err != nil {
					t.Fatal(err)
				}
				code, _ := speed(s.Baud)
				right = got.Cflag&unix.CBAUD == code || s.Baud > 230400
			}
			// A pseudo terminal keeps speed and stop bits, but not size and parity.
			if !right || got.Cflag&unix.CSTOPB != 0 != (s.Stop == 2) || got.Lflag != 0 || got.Oflag != 0 || got.Cc[unix.VMIN] != 1 || got.Cflag&unix.CLOCAL == 0 {
				t.Errorf("%s: %+v", text, got)
			}
		})
		p.Close()
	}
}

// TestThousandReopens leaves nothing behind.
func TestThousandReopens(t *testing.T) {
	_, line := pair(t)
	var lines Lines
	var b [8]byte
	once := func() {
		p := must[*Port](t)(lines.Open("line", line, Default()))
		_ = p.SetDeadline(time.Now().Add(time.Microsecond))
		if _, err := p.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	goroutines, fds := scale.Held()
	for range 1000 {
		once()
	}
	g, f := scale.Held()
	t.Logf("after 1,000 reopens: descriptors %+d, goroutines %+d", f-fds, g-goroutines)
	if f > fds || g > goroutines {
		t.Error("something was left behind")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	master, line := pair(t)
	p := must[*Port](t)(Open(line, Default()))
	defer p.Close()
	out, in := []byte("12345678"), make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		_ = p.SetDeadline(time.Now().Add(time.Second))
		_ = p.Flush()
		_, _ = p.Write(out)
		_, _ = master.Read(in)
		_, _ = master.Write(out)
		_, _ = p.Read(in)
		_ = p.SetDeadline(time.Now().Add(100 * time.Microsecond))
		_, _ = p.Read(in)
		_, _ = p.Drain(in)
	}); n != 0 {
		t.Error(n, "allocations")
	}
}
