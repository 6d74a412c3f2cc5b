package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/people"
)

// A PIN that is typed is never shown, a new one is asked for twice, and the
// terminal is afterwards as it was.
func TestTypedPIN(t *testing.T) {
	for _, x := range []struct {
		fresh bool
		lines []string
		want  string
		key   string
	}{
		{false, []string{"731905"}, "731905", ""},
		{true, []string{"731905", "731905"}, "731905", ""},
		{true, []string{"731905", "731906"}, "", "davy.pin.differ"},
		{true, []string{""}, "", ""},
		{false, []string{""}, "", ""},
	} {
		keys, screen := terminal(t)
		before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			pin string
			err error
		}
		done := make(chan result, 1)
		asked, answer := io.Pipe()
		go func() {
			pin, err := readPIN(&cli.Call{Lang: i18n.En, Err: answer}, screen, "li-1", x.fresh)
			_ = answer.Close()
			done <- result{pin, err}
		}()
		for _, line := range x.lines {
			question := make([]byte, 100)
			if n, err := asked.Read(question); err != nil || !strings.Contains(string(question[:n]), ": ") {
				t.Errorf("%q: asked %q, %v", x.lines, question[:n], err)
			}
			if mode, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ECHO != 0 {
				t.Errorf("the terminal shows what is typed (%v)", err)
			}
			if _, err := keys.WriteString(line + "\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(asked, make([]byte, 1)); err != nil { // the line's end
				t.Fatal(err)
			}
		}
		rest, _ := io.ReadAll(asked)
		got := <-done
		var said *cli.Error
		errors.As(got.err, &said)
		if len(rest) > 0 || x.key == "" && (got.err != nil || got.pin != x.want) || x.key != "" && (said == nil || said.Key != x.key) {
			t.Errorf("%q: %q, %v, then asked %q", x.lines, got.pin, got.err, rest)
		}
		after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("the terminal is left as %+v, was %+v (%v)", after, before, err)
		}
	}
}

// From a pipe it is one line, and what follows is left for who asks next.
func TestPipedPIN(t *testing.T) {
	for in, want := range map[string]struct{ pin, rest string }{
		"731905\ny\n": {"731905", "y\n"}, "731905\r\nx": {"731905", "x"}, "731905": {"731905", ""}, "": {}, "\n7": {"", "7"},
		strings.Repeat("7", maxTyped+3): {strings.Repeat("7", maxTyped), "777"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = w.WriteString(in); _ = w.Close() }()
		var screen bytes.Buffer
		got, err := readPIN(&cli.Call{Lang: i18n.En, Err: &screen}, r, "li-1", true)
		rest, _ := io.ReadAll(r)
		_ = r.Close()
		if err != nil || got != want.pin || string(rest) != want.rest || screen.Len() > 0 {
			t.Errorf("%.20q: %.20q, rest %q, %v, shown %q", in, got, rest, err, screen.String())
		}
	}
}

// The file keeps its rights but those of everybody else.
func TestRosterRights(t *testing.T) {
	dir := t.TempDir()
	for before, want := range map[os.FileMode]os.FileMode{0: 0o640, 0o644: 0o640, 0o600: 0o600, 0o666: 0o660} {
		path := filepath.Join(dir, "people.yaml")
		_ = os.Remove(path)
		if before != 0 {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, before); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeRoster(dir, "people.yaml", []byte("y")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%o: %v, %v, want %o", before, info.Mode(), err, want)
		}
	}
}

// Nobody but the person who is changed may be another afterwards.
func TestOthersSame(t *testing.T) {
	li, wang := people.Person{ID: "li", Name: "Li"}, people.Person{ID: "wang", Name: "Wang"}
	roll := func(p ...people.Person) *config.People { return &config.People{Roll: people.Roll{Persons: p}} }
	other := wang
	other.Roles = []people.Role{people.EHS}
	with := wang
	with.PIN = people.NewHash("731905")
	for name, x := range map[string]struct {
		after *config.People
		want  bool
	}{
		"changed": {roll(people.Person{ID: "li", Name: "X"}, wang), true}, "removed": {roll(wang), true}, "lost": {roll(li), false},
		"roles": {roll(li, other), false}, "pin": {roll(li, with), false}, "added": {roll(li, wang, people.Person{ID: "zhao"}), false},
	} {
		if got := othersSame(roll(li, wang), x.after, "li"); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
