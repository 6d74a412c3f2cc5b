package accept

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func save(t *testing.T, dir, bundle string) *Acceptance {
	t.Helper()
	a := &Acceptance{Bundle: []byte(bundle), Who: "li", Reason: "因为 " + bundle}
	if err := Save(dir, a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSaveKeepsTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	if _, damaged, err := Load(dir); !errors.Is(err, ErrNone) || damaged {
		t.Fatalf("of an empty directory: %v %v", damaged, err)
	}
	first := save(t, dir, "one")
	second := save(t, dir, "two")
	if second.Before != first.Hash || first.Before != "" || first.Hash == second.Hash {
		t.Errorf("before %q and %q, hashes %q %q", first.Before, second.Before, first.Hash, second.Hash)
	}
	got, damaged, err := Load(dir)
	if err != nil || damaged || string(got.Bundle) != "two" || got.Reason != "因为 two" || got.Hash != second.Hash {
		t.Errorf("%+v damaged=%v %v", got, damaged, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// However accepted.json is damaged, the one before it is found, and it is said.
func TestDamaged(t *testing.T) {
	whole := t.TempDir()
	save(t, whole, "one")
	save(t, whole, "two")
	good, err := os.ReadFile(filepath.Join(whole, current))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(f func(a *Acceptance)) []byte {
		a := new(Acceptance)
		if err := json.Unmarshal(good, a); err != nil {
			t.Fatal(err)
		}
		f(a)
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, bad := range map[string][]byte{
		"empty":        {},
		"zeros":        make([]byte, len(good)),
		"cut short":    good[:len(good)-5],
		"no json":      []byte("accepted: yes"),
		"null":         []byte("null"),
		"other bundle": changed(func(a *Acceptance) { a.Bundle = []byte("three") }),
		"other hash":   changed(func(a *Acceptance) { a.Hash = "00" }),
		"too large":    append(bytes.Repeat([]byte(" "), MaxSize), good...),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			save(t, dir, "one")
			save(t, dir, "two")
			if err := os.WriteFile(filepath.Join(dir, current), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			got, damaged, err := Load(dir)
			if err != nil || !damaged || string(got.Bundle) != "one" {
				t.Fatalf("%+v damaged=%v %v", got, damaged, err)
			}
			// What comes next must not push the whole one out in favour of the damaged one.
			save(t, dir, "three")
			if got, damaged, err = Load(dir); err != nil || damaged || string(got.Bundle) != "three" {
				t.Fatalf("after another: %+v damaged=%v %v", got, damaged, err)
			}
			if err := os.Remove(filepath.Join(dir, current)); err != nil {
				t.Fatal(err)
			}
			if got, _, err = Load(dir); err != nil || string(got.Bundle) != "one" {
				t.Fatalf("the one before: %+v %v", got, err)
			}
			if err := os.WriteFile(filepath.Join(dir, previous), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, damaged, err = Load(dir); !errors.Is(err, ErrDamaged) || !damaged {
				t.Errorf("all damaged: damaged=%v %v", damaged, err)
			}
		})
	}
}

func TestADirectoryWhereAFileShouldBe(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, current), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, damaged, err := Load(dir); !errors.Is(err, ErrDamaged) || !damaged {
		t.Errorf("damaged=%v %v", damaged, err)
	}
	if err := Save(dir, &Acceptance{Bundle: []byte("x")}); err == nil {
		t.Error("saved over a directory")
	}
}

func TestWriteFileIsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := WriteFile(path, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	if err := WriteFile(filepath.Join(dir, "nowhere", "f"), []byte("new"), 0o640); err == nil {
		t.Error("written where there is no directory")
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "d"), []byte("new"), 0o640); err == nil {
		t.Error("a directory was replaced")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("temporary files are left: %v %v", names, err)
	}
}
