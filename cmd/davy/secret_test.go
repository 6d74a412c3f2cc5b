package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"davy/agent/cli"
	"davy/agent/i18n"
)

// terminal is a pseudo-terminal: what a person types goes into the first, the
// program reads the second.
func terminal(t *testing.T) (keys, screen *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return keys, screen
}

// A secret that is typed is asked for twice and never shown, and the terminal
// is afterwards as it was.
func TestTypedSecret(t *testing.T) {
	for _, x := range []struct{ first, again, want, key string }{
		{"pass word ", "pass word ", "pass word ", ""},
		{"one", "two", "", "davy.secret.differ"},
		{"", "", "", ""},
	} {
		keys, screen := terminal(t)
		before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			value string
			err   error
		}
		done := make(chan result, 1)
		asked, answer := io.Pipe()
		go func() {
			value, err := readSecret(&cli.Call{Lang: i18n.En, Err: answer}, screen, "dcs")
			_ = answer.Close()
			done <- result{value, err}
		}()
		for _, line := range []string{x.first, x.again} { // typed when it asks
			question := make([]byte, 100)
			n, err := asked.Read(question)
			if err != nil || n < 3 {
				break
			}
			mode, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
			if err != nil || mode.Lflag&unix.ECHO != 0 {
				t.Errorf("the terminal shows what is typed (%v)", err)
			}
			if _, err := keys.WriteString(line + "\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(asked, make([]byte, 1)); err != nil { // the line's end
				t.Fatal(err)
			}
			if line == "" {
				break
			}
		}
		go func() { _, _ = io.Copy(io.Discard, asked) }()
		got := <-done
		var said *cli.Error
		errors.As(got.err, &said)
		if x.key == "" && (got.err != nil || got.value != x.want) || x.key != "" && (said == nil || said.Key != x.key) {
			t.Errorf("%q, %q: %q, %v", x.first, x.again, got.value, got.err)
		}
		after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("the terminal is left as %+v, was %+v (%v)", after, before, err)
		}
	}
}

// From a file or a pipe it is everything but one line ending.
func TestPipedSecret(t *testing.T) {
	for in, want := range map[string]string{"a b \n": "a b ", "a\r\n": "a", "a\n\n": "a\n", "-----BEGIN\nx\n-----END\n": "-----BEGIN\nx\n-----END", "": ""} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = w.WriteString(in); _ = w.Close() }()
		var screen bytes.Buffer
		got, err := readSecret(&cli.Call{Lang: i18n.En, Err: &screen}, r, "x")
		_ = r.Close()
		if err != nil || got != want || strings.Contains(screen.String(), "a") {
			t.Errorf("%q: %q, %v, shown %q", in, got, err, screen.String())
		}
	}
}
