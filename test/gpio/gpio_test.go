package gpio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "davy/drivers/gpio" // what is proved: a result is good for this version only
)

// names are the machine's lines, as a board's description would have them.
var names = []string{"DI1", "DI2", "RELAY1", "BUTTON", "RELAY2", "TWIN", "TWIN", ""}

// Parts of the proof, each of which both programs of the guest must report but
// for the long one, which is the kernel's matter and done once; and the longest the machine may take on a machine that does other things too.
var parts = []string{"chip", "inputs", "outputs", "two-requesters", "edges", "debounce", "lost-edges", "process-death", "unplugged", "errors"}

const longest = 4 * time.Minute

func TestOnRealKernelLines(t *testing.T) {
	qemu, err := exec.LookPath("qemu-system-aarch64")
	if err != nil {
		t.Fatalf("there is no qemu-system-aarch64 (Debian: qemu-system-arm; make setup): %v", err)
	}
	dir := t.TempDir()
	kernel := kernel(t)
	tree := filepath.Join(dir, "tree")
	run(t, nil, qemu, "-M", "virt,dumpdtb="+tree, "-cpu", "cortex-a53", "-m", "256", "-nic", "none", "-display", "none")
	named, err := nameLines(read(t, tree), "pl061@", names)
	if err != nil {
		t.Fatal(err)
	}
	write(t, tree, named)
	disk := filepath.Join(dir, "initramfs")
	write(t, disk, archive([]file{
		{name: "dev", mode: 0o040755},
		{name: "dev/console", mode: 0o020600, major: 5, minor: 1},
		{name: "init", mode: 0o100755, data: guest(t, dir, "arm64")},
		{name: "proof64", mode: 0o120777, data: []byte("init")},
		{name: "proof32", mode: 0o100755, data: guest(t, dir, "arm")},
	}))

	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	socket := filepath.Join(dir, "qmp")
	c := exec.CommandContext(ctx, qemu, "-M", "virt", "-cpu", "cortex-a53", "-m", "256", "-nic", "none", "-display", "none",
		"-kernel", kernel, "-initrd", disk, "-dtb", tree, "-append", "console=ttyAMA0 loglevel=3 panic=1 rdinit=/init",
		"-serial", "stdio", "-monitor", "none", "-qmp", "unix:"+socket+",server=on,wait=off")
	console, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	c.Stderr = &complaint
	began := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = c.Wait() // it was killed
	}()
	m := &machine{T: t, socket: socket, ok: map[string]string{}}
	if !m.follow(console) {
		t.Errorf("the machine ended before it was done\n%s\n%s", complaint.String(), strings.Join(m.tail, "\n"))
	}
	m.judge()
	t.Logf("%.1f s, %d presses", time.Since(began).Seconds(), m.presses)
}

// machine is the host's side of the console.
type machine struct {
	*testing.T
	socket  string
	boots   [][]string // what each start found the outputs like
	ok      map[string]string
	presses int
	ended   bool
	tail    []string
}

// follow listens until the machine has started a second time.
func (m *machine) follow(console io.Reader) bool {
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if m.tail = append(m.tail, text); len(m.tail) > 60 {
			m.tail = m.tail[1:]
		}
		_, said, ok := strings.Cut(text, "DAVY ")
		if !ok {
			continue
		}
		word, rest, _ := strings.Cut(said, " ")
		switch word {
		case "boot":
			if len(m.boots) == 0 || len(m.boots[len(m.boots)-1]) == 2 {
				m.boots = append(m.boots, nil)
			}
			last := len(m.boots) - 1
			m.boots[last] = append(m.boots[last], rest)
			if last == 1 && len(m.boots[last]) == 2 {
				return true
			}
		case "ok":
			name, what, _ := strings.Cut(rest, ": ")
			m.ok[name] = what
			m.Logf("%s: %s", name, what)
		case "FAIL":
			m.Errorf("%s", rest)
		case "want":
			m.presses++
			m.command("system_powerdown")
		case "end":
			m.ended = true
			m.command("system_reset")
		}
	}
	return false
}

// command gives the machine an order over its QMP socket.
func (m *machine) command(name string) {
	conn, err := net.Dial("unix", m.socket)
	if err != nil {
		m.Errorf("%s: %v", name, err)
		return
	}
	defer conn.Close()
	answers := json.NewDecoder(conn)
	var greeting map[string]any
	if err := answers.Decode(&greeting); err != nil {
		m.Errorf("%s: %v", name, err)
		return
	}
	for _, order := range []string{"qmp_capabilities", name} {
		if _, err := fmt.Fprintf(conn, "{\"execute\": %q}\n", order); err != nil {
			m.Errorf("%s: %v", name, err)
			return
		}
		for {
			answer := map[string]json.RawMessage{}
			if err := answers.Decode(&answer); err != nil {
				m.Errorf("%s: %v", name, err)
				return
			}
			if e := answer["error"]; e != nil {
				m.Errorf("%s: %s", name, e)
				return
			}
			if answer["return"] != nil {
				break // everything else is an event
			}
		}
	}
}

// judge says what is missing of the proof.
func (m *machine) judge() {
	for _, arch := range []string{"arm64", "arm"} {
		for _, part := range parts {
			if _, ok := m.ok[arch+"/"+part]; !ok && (part != "lost-edges" || arch == "arm64") {
				m.Errorf("%s/%s: not proved", arch, part)
			}
		}
	}
	if !m.ended || len(m.boots) != 2 {
		m.Errorf("the machine started %d times, and said everything: %v", len(m.boots), m.ended)
		return
	}
	for i, boot := range m.boots {
		m.Logf("start %d found: %s", i+1, strings.Join(boot, ", "))
	}
	// The board's file declares what was seen.
	board := read(m.T, "../../firmware-configs/boards/qemu-virt.yaml")
	for i, occasion := range []string{"power_loss", "restart"} {
		for _, line := range m.boots[i] {
			f := strings.Fields(line) // RELAY1 input Low
			if got := declared(board, f[0], occasion); len(f) != 3 || got != f[1] {
				m.Errorf("%s: found %q, and the board's file says %q", occasion, line, got)
			}
		}
	}
	for _, relay := range []string{"RELAY1", "RELAY2"} { // the proof process-death holds it to
		if got := declared(board, relay, "process_death"); got != "stays" {
			m.Errorf("%s stays when its process dies, and the board's file says %q", relay, got)
		}
	}
	if want := "lines: [" + strings.Join(names[:7], ", ") + `, ""]`; !strings.Contains(string(board), want) {
		m.Errorf("the board's file has not %s", want)
	}
}

// declared is what a board's file says of a relay at an occasion.
func declared(board []byte, relay, occasion string) string {
	_, after, _ := strings.Cut(string(board), "\n  "+relay+":\n")
	_, after, _ = strings.Cut(after, "    "+occasion+": {state: ")
	state, _, _ := strings.Cut(after, ",")
	return state
}

// kernel fetches the guest's kernel, once, and returns its path.
func kernel(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.cache/gpio")
	if err != nil {
		t.Fatal(err)
	}
	run(t, nil, "./kernel.sh", dir)
	return filepath.Join(dir, "vmlinuz")
}

// guest builds the guest's program.
func guest(t *testing.T, dir, arch string) []byte {
	t.Helper()
	sources, err := filepath.Glob("guest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		read(t, path) // so that go test knows that its result depends on them
	}
	out := filepath.Join(dir, "guest-"+arch)
	run(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOARM=7"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./guest")
	return read(t, out)
}

func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
