// Package secret keeps passwords and keys by name in the state directory: a
// site file names a secret, it never holds one.
//
// It promises that a secret is on disk whole or not at all when Set returns,
// that nobody but the owner of the state directory can read it (files 0600 in a
// directory 0700), and that Get refuses a file that others can. What is stored is
// not encrypted: who can read the state directory as its owner has it. A secret
// is never in an error, a log or a command line.
//
// Files: <state>/secrets/<name>. Imports: agent/accept (writing files).
package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"davy/agent/accept"
)

// Limits of a secret; at each of them it is refused.
const (
	MaxName  = 48       // bytes of a name
	MaxValue = 64 << 10 // bytes of a secret: a key with its chain fits
	MaxCount = 256      // secrets of a state directory
)

// Errors, without the secret.
var (
	ErrName  = errors.New("not a name")
	ErrNone  = errors.New("no such secret")
	ErrEmpty = errors.New("empty")
	ErrLong  = errors.New("too long")
	ErrMany  = errors.New("too many secrets")
	ErrOpen  = errors.New("others may read it")
	// ErrElsewhere says that the directory of the secrets is a link or a file.
	ErrElsewhere = errors.New("secrets is no directory")
)

// Info is what may be shown of a secret.
type Info struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"` // when it was stored
}

// Dir is where the secrets of a state directory are.
func Dir(state string) string { return filepath.Join(state, "secrets") }

// Name reports whether a text can name a secret: letters, digits, - and _, not
// first - or _.
func Name(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '-' && r != '_') {
			return false
		}
	}
	return s != "" && len(s) <= MaxName
}

// Get returns a secret.
func Get(state, name string) (string, error) {
	if !Name(name) {
		return "", fmt.Errorf("get secret %q: %w", name, ErrName)
	}
	f, err := os.Open(filepath.Join(Dir(state), name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("get secret %s: %w", name, ErrNone)
	}
	if err != nil {
		return "", fmt.Errorf("get secret %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular()) {
		err = ErrOpen
	}
	var raw []byte
	if err == nil {
		raw, err = io.ReadAll(io.LimitReader(f, MaxValue+1))
	}
	if err == nil && len(raw) > MaxValue {
		err = ErrLong
	}
	if err != nil {
		return "", fmt.Errorf("get secret %s: %w", name, err)
	}
	return string(raw), nil
}

// Set stores a secret, durable on return.
func Set(state, name, value string) error {
	switch {
	case !Name(name):
		return fmt.Errorf("set secret %q: %w", name, ErrName)
	case value == "":
		return fmt.Errorf("set secret %s: %w", name, ErrEmpty)
	case len(value) > MaxValue:
		return fmt.Errorf("set secret %s: %w", name, ErrLong)
	}
	dir := Dir(state)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = accept.SyncDir(state)
	} else if errors.Is(err, fs.ErrExist) {
		// Whatever became of it; but root must not be led elsewhere by who owns the state.
		var info fs.FileInfo
		if info, err = os.Lstat(dir); err == nil && !info.IsDir() {
			err = ErrElsewhere
		}
		if err == nil {
			err = os.Chmod(dir, 0o700)
		}
	}
	if err != nil {
		return fmt.Errorf("set secret %s: %w", name, err)
	}
	have, err := List(state)
	if err != nil {
		return err
	}
	if len(have) >= MaxCount && !slices.ContainsFunc(have, func(x Info) bool { return x.Name == name }) {
		return fmt.Errorf("set secret %s: %w", name, ErrMany)
	}
	if err := accept.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
		return fmt.Errorf("set secret %s: %w", name, err)
	}
	return nil
}

// List returns the names, sorted, without what they hold.
func List(state string) ([]Info, error) {
	entries, err := os.ReadDir(Dir(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	var out []Info
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !Name(e.Name()) { // a half written one begins with a dot
			continue
		}
		out = append(out, Info{e.Name(), info.ModTime().UTC()})
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Remove forgets a secret, durable on return.
func Remove(state, name string) error {
	if !Name(name) {
		return fmt.Errorf("remove secret %q: %w", name, ErrName)
	}
	err := os.Remove(filepath.Join(Dir(state), name))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove secret %s: %w", name, ErrNone)
	}
	if err == nil {
		err = accept.SyncDir(Dir(state))
	}
	if err != nil {
		return fmt.Errorf("remove secret %s: %w", name, err)
	}
	return nil
}
