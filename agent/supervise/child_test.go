package supervise

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"davy/drivers/child"
)

// shell is a child that runs a script; fd 3 is ours. A shell is used so that
// the test runs under an emulator too, which cannot start its own binary.
func shell(script string, serve func(ctx context.Context, conn io.ReadWriteCloser) error) *Child {
	return &Child{Path: "/bin/sh", Args: []string{"-c", script}, Serve: serve, Grace: 20 * time.Second}
}

func TestChildTalks(t *testing.T) {
	var pid int
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stderr.Close() }()
	got := ""
	ctx, cancel := context.WithCancel(t.Context())
	// It says what it was given, then gives everything back, and ends on EOF.
	c := shell(`echo "$GOMEMLIMIT $EXTRA $0" >&3; echo trouble >&2; exec cat <&3 >&3`, func(ctx context.Context, conn io.ReadWriteCloser) error {
		in := bufio.NewReader(conn)
		line, err := in.ReadString('\n')
		if err == nil {
			_, err = conn.Write([]byte("hello\n"))
		}
		if err == nil {
			got = line
			line, err = in.ReadString('\n')
			got += line
		}
		if err != nil {
			return err
		}
		if _, ok := conn.(net.Conn); !ok {
			return errors.New("no deadlines")
		}
		cancel()
		<-ctx.Done()
		return nil
	})
	c.Args = append(c.Args, "keep")
	c.Env, c.MemLimit, c.Stderr, c.Started = []string{"EXTRA=x"}, 1<<26, stderr, func(p int) { pid = p }
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got != "67108864 x keep\nhello\n" {
		t.Errorf("got %q", got)
	}
	if b, _ := os.ReadFile(stderr.Name()); string(b) != "trouble\n" {
		t.Errorf("stderr %q", b)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
}

func TestChildEnds(t *testing.T) {
	read := func(_ context.Context, conn io.ReadWriteCloser) error {
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	for _, c := range []struct {
		name, script string
		serve        func(context.Context, io.ReadWriteCloser) error
		want         string
	}{
		{"by itself", "exit 0", read, child.ErrEnded.Error()},
		{"with a status", "exit 7", read, "exit status 7"},
		{"killed", "kill -9 $$", read, "signal: killed"},
		{"the conversation fails", "cat <&3 >/dev/null", func(context.Context, io.ReadWriteCloser) error { return errors.New("peer silent") }, "peer silent"},
		{"the conversation panics", "cat <&3 >/dev/null", func(context.Context, io.ReadWriteCloser) error { panic("x") }, "panic: x"},
		{"no such program", "", read, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			part := shell(c.script, c.serve)
			if c.script == "" {
				part.Path = filepath.Join(t.TempDir(), "none")
			}
			if err := part.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "child "+part.Path) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A child that does not end on EOF is killed after its grace.
func TestChildIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := shell("trap '' TERM; echo up >&3; while :; do sleep 0.2; done", func(ctx context.Context, conn io.ReadWriteCloser) error {
		_, err := conn.Read(make([]byte, 8))
		cancel()
		return err
	})
	c.Grace = 300 * time.Millisecond
	begin := time.Now()
	if err := c.Run(ctx); !errors.Is(err, child.ErrKilled) || time.Since(begin) < c.Grace {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// No descriptor stays behind, whatever the end was.
func TestChildLeavesNoDescriptors(t *testing.T) {
	count := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	once := func() {
		_ = shell("exit 1", func(_ context.Context, conn io.ReadWriteCloser) error {
			_, err := io.Copy(io.Discard, conn)
			return err
		}).Run(t.Context())
		_ = (&Child{Path: "/none", Serve: nil}).Run(t.Context())
	}
	once()
	before := count()
	for range 5 {
		once()
	}
	if after := count(); after > before+1 {
		t.Errorf("%d descriptors, then %d", before, after)
	}
}

// A child does not inherit the parent's end, or another child's: it would never see EOF.
func TestChildHasOnlyItsOwnEnd(t *testing.T) {
	other, theirs, err := child.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = other.Close(), theirs.Close() }()
	cmd := exec.Command("/bin/sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done; true")
	out, err := cmd.Output()
	if err != nil || strings.Contains(string(out), "socket:") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestParentOfNobody(t *testing.T) {
	if kind, err := unix.GetsockoptInt(child.FD, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && kind == unix.SOCK_STREAM {
		t.Fatal("the test itself has a socket on fd 3")
	}
	if _, err := child.Parent(); err == nil || !strings.Contains(err.Error(), "davy run") {
		t.Errorf("got %v", err)
	}
}
