package powercut

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	imageBytes = 48 << 20 // of the disk; the journal is at most 4 MiB
	memory     = "128M"
	tailLines  = 40 // of the machine's console, to be shown where it fails
)

// host is what all machines of a run share: the guest's root and the kernel.
type host struct {
	dir    string // temporary
	root   string // of the guest, its hostfs
	kernel string
	shm    string // where the machine's memory is a file; "": where it wants
}

// said is a line of the guest's.
type said struct {
	at   time.Time
	text string
}

// machine is a running one.
type machine struct {
	cmd   *exec.Cmd
	in    *os.File
	lines chan said // closed when every process of it is gone
	mu    sync.Mutex
	tail  []string
}

// newHost builds the guest and its root in dir.
func newHost(dir string) (*host, error) {
	h := &host{dir: dir, root: filepath.Join(dir, "root")}
	var err error
	if h.kernel, err = exec.LookPath("linux.uml"); err != nil {
		return nil, fmt.Errorf("there is no linux.uml (Debian: user-mode-linux; make setup): %w", err)
	}
	for _, d := range []string{"dev", "proc", "tmp", "disk", "modules"} {
		if err := os.MkdirAll(filepath.Join(h.root, d), 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"dm-mod.ko", "dm-flakey.ko"} {
		found, err := filepath.Glob("/usr/lib/uml/modules/*/kernel/drivers/md/" + name)
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("there are %d modules %s of linux.uml: %w", len(found), name, err)
		}
		b, err := os.ReadFile(found[0])
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(h.root, "modules", name), b, 0o600); err != nil {
			return nil, err
		}
	}
	if !roomInShm() {
		h.shm = dir
	}
	return h, command("env", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "go", "build", "-trimpath", "-ldflags", "-s -w",
		"-o", filepath.Join(h.root, "init"), "./guest")
}

// roomInShm reports whether a machine's memory may lie where User Mode Linux
// puts it: in a container that is often small, or nothing may be executed there.
func roomInShm() bool {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) != nil {
		return false
	}
	return st.Flags&unix.ST_NOEXEC == 0 && int64(st.Bavail)*int64(st.Bsize) > 256<<20
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// newImage makes an empty disk.
func (h *host) newImage(name string) (string, error) {
	path := filepath.Join(h.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Truncate(imageBytes), f.Close()); err != nil {
		return "", err
	}
	return path, command("mkfs.ext4", "-q", "-F", path)
}

// repair is what a machine does before it mounts a disk that may be bad.
func repair(image string) error {
	err := exec.Command("e2fsck", "-f", "-y", image).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() <= 2 { // 1, 2: there were errors, and they are mended
		return nil
	}
	return err
}

// start switches a machine on.
func (h *host) start(image string, env ...string) (*machine, error) {
	listen, say, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	hear, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	m := &machine{in: in, lines: make(chan said, 1024)}
	m.cmd = exec.Command(h.kernel, append([]string{
		"mem=" + memory, "uml_dir=" + filepath.Join(h.dir, "uml"), "con0=null,fd:1", "con=null", "ssl=null", "ssl0=fd:4,fd:3",
		"root=/dev/root", "rootfstype=hostfs", "rootflags=" + h.root, "rw", "init=/init", "ubd0=" + image, "quiet", "loglevel=4", "panic=1",
	}, env...)...)
	m.cmd.Env = os.Environ()
	if h.shm != "" {
		m.cmd.Env = append(m.cmd.Env, "TMPDIR="+h.shm)
	}
	m.cmd.ExtraFiles = []*os.File{say, hear} // 3, 4
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	console, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.cmd.Stderr = m.cmd.Stdout
	err = m.cmd.Start()
	say.Close()
	hear.Close()
	if err != nil {
		listen.Close()
		in.Close()
		return nil, err
	}
	go m.keepTail(console)
	go m.listen(listen)
	return m, nil
}

func (m *machine) keepTail(console io.Reader) {
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		m.mu.Lock()
		if m.tail = append(m.tail, strings.TrimSpace(lines.Text())); len(m.tail) > tailLines {
			m.tail = m.tail[1:]
		}
		m.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, console) // a line that is too long is not worth a machine
}

func (m *machine) listen(from *os.File) {
	defer close(m.lines)
	defer from.Close()
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadString('\n')
		if err != nil {
			return // and half a line was not said
		}
		m.lines <- said{time.Now(), strings.TrimSuffix(text, "\n")}
	}
}

func (m *machine) console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.tail, "\n")
}

// tell says a line to the guest. A machine that is off hears nothing.
func (m *machine) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(m.in, format+"\n", args...)
}

// cut pulls the plug: every process of the machine at once.
func (m *machine) cut() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
}

// gone frees what the machine held, after its lines have ended.
func (m *machine) gone() {
	m.in.Close()
	_ = m.cmd.Wait() // it was killed
}
