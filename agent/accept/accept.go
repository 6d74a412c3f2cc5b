// Package accept keeps the one site that is live: the bundle that `davy apply`
// accepted, with who, why, when and the verdict of its tests.
//
// It promises that Save either leaves the new acceptance on disk (durable on
// return) or the old one untouched, and that Load returns the newest one that
// is whole: a damaged file is passed over and the one before it is taken, with
// damaged true so that the agent can say so. The bundle's
// hash is checked on every load. `davy run` needs nothing else: the site
// directory may be gone.
//
// Files in the state directory: accepted.json, accepted.prev.json.
// Imports: nothing of ours.
package accept

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Acceptance is one acceptance of one site.
type Acceptance struct {
	Bundle  []byte    `json:"bundle"`
	Hash    string    `json:"hash"` // sha256 of Bundle, hex
	Dir     string    `json:"dir"`  // where it was read from, to compare with later
	Who     string    `json:"who"`
	Proved  bool      `json:"proved"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	Version string    `json:"version"` // of the agent that compiled it and ran its tests
	Verdict string    `json:"verdict"` // "passed 5", "none"
	Before  string    `json:"before"`  // hash of the one it replaced
}

// Errors of Load.
var (
	// ErrNone says that no site was ever accepted here.
	ErrNone = errors.New("no accepted site")
	// ErrDamaged says that every copy is damaged: a site must be applied again.
	ErrDamaged = errors.New("every copy is damaged")
)

const (
	current  = "accepted.json"
	previous = "accepted.prev.json"
	// MaxSize of an acceptance; a larger file is damaged.
	MaxSize = 16 << 20
)

// Save makes a the accepted site of dir. It fills Hash and Before.
func Save(dir string, a *Acceptance) error {
	sum := sha256.Sum256(a.Bundle)
	a.Hash = fmt.Sprintf("%x", sum)
	if old, _, err := Load(dir); err == nil {
		a.Before = old.Hash
	}
	raw, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	if old, err := os.ReadFile(filepath.Join(dir, current)); err == nil {
		if _, err := parse(old); err == nil {
			if err := WriteFile(filepath.Join(dir, previous), old, 0o600); err != nil {
				return err
			}
		}
	}
	return WriteFile(filepath.Join(dir, current), raw, 0o600)
}

// Files are the names in the state directory.
var Files = []string{current, previous}

// Revert makes a, which Save replaced a moment ago, the accepted site again.
func Revert(dir string, a *Acceptance) error {
	raw, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return WriteFile(filepath.Join(dir, current), raw, 0o600)
}

// Before returns the acceptance that stood before the newest one; ErrNone if
// there is none that is whole.
func Before(dir string) (*Acceptance, error) {
	raw, err := os.ReadFile(filepath.Join(dir, previous))
	if err == nil {
		var a *Acceptance
		if a, err = parse(raw); err == nil {
			return a, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	return nil, fmt.Errorf("load the site before %s: %w: %w", dir, ErrDamaged, err)
}

// Load returns the accepted site of dir, and whether a damaged file had to be
// passed over to find it. The error is ErrNone where there is none at all.
func Load(dir string) (a *Acceptance, damaged bool, err error) {
	var cause error // of the first
	for _, name := range Files {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			a, err = parse(raw)
		}
		if err == nil {
			return a, damaged, nil
		}
		if !damaged {
			damaged, cause = true, fmt.Errorf("%s: %w", name, err)
		}
	}
	if damaged {
		return nil, true, fmt.Errorf("load accepted site %s: %w: %w", dir, ErrDamaged, cause)
	}
	return nil, false, ErrNone
}

func parse(raw []byte) (*Acceptance, error) {
	if len(raw) > MaxSize {
		return nil, errors.New("too large")
	}
	a := new(Acceptance)
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(a); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(a.Bundle); fmt.Sprintf("%x", sum) != a.Hash {
		return nil, errors.New("hash differs")
	}
	return a, nil
}

// WriteFile puts content under path, whole or not at all: temporary file,
// fsync, rename, fsync of the directory.
func WriteFile(path string, content []byte, mode os.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = SyncDir(dir)
	}
	return err
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
