package secret

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	state := t.TempDir()
	if list, err := List(state); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	if _, err := Get(state, "dcs-user"); !errors.Is(err, ErrNone) {
		t.Errorf("none: %v", err)
	}
	for name, value := range map[string]string{"dcs-user": "davy:pass word\n second line ", "key": strings.Repeat("x", MaxValue)} {
		if err := Set(state, name, value); err != nil {
			t.Fatal(err)
		}
		if got, err := Get(state, name); err != nil || got != value {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		info, err := os.Stat(filepath.Join(Dir(state), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(Dir(state)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if err := Set(state, "dcs-user", "another"); err != nil {
		t.Fatal(err)
	}
	if got, err := Get(state, "dcs-user"); err != nil || got != "another" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(Dir(state), ".half.123"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := List(state)
	if err != nil || len(list) != 2 || list[0].Name != "dcs-user" || list[1].Name != "key" || list[0].At.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := Remove(state, "key"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(state, "key"); !errors.Is(err, ErrNone) {
		t.Errorf("twice: %v", err)
	}
	if _, err := Get(state, "key"); !errors.Is(err, ErrNone) {
		t.Errorf("removed: %v", err)
	}
}

// What is refused changes nothing, and no error tells the secret.
func TestRefused(t *testing.T) {
	state := t.TempDir()
	const value = "correct horse"
	if err := Set(state, "a", value); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../a", "a/b", "-a", "_a", ".a", "a b", "密码", strings.Repeat("a", MaxName+1)} {
		_, err := Get(state, name)
		for what, err := range map[string]error{"get": err, "set": Set(state, name, value), "remove": Remove(state, name)} {
			if !errors.Is(err, ErrName) || strings.Contains(err.Error(), value) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	if err := Set(state, "a", ""); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	if err := Set(state, "a", strings.Repeat("x", MaxValue+1)); !errors.Is(err, ErrLong) || len(err.Error()) > 100 {
		t.Errorf("long: %v", err)
	}
	if got, err := Get(state, "a"); err != nil || got != value {
		t.Errorf("%q, %v", got, err)
	}
	path := filepath.Join(Dir(state), "a")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Get(state, "a"); !errors.Is(err, ErrOpen) || strings.Contains(err.Error(), value) {
		t.Errorf("a file that others can read: %v", err)
	}
	if err := os.Chmod(Dir(state), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Set(state, "a", value); err != nil { // sets both right again
		t.Fatal(err)
	}
	if info, err := os.Stat(Dir(state)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if got, err := Get(state, "a"); err != nil || got != value {
		t.Errorf("%q, %v", got, err)
	}
}

// A state directory takes MaxCount secrets, and then only changes of those.
func TestManySecrets(t *testing.T) {
	state := t.TempDir()
	if err := os.Mkdir(Dir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range MaxCount {
		if err := os.WriteFile(filepath.Join(Dir(state), "s"+string(rune('a'+i/26))+string(rune('a'+i%26))), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Set(state, "one-more", "x"); !errors.Is(err, ErrMany) {
		t.Errorf("one more: %v", err)
	}
	if err := Set(state, "saa", "y"); err != nil {
		t.Errorf("one of them: %v", err)
	}
}

// A link in the place of the directory is not followed: who owns the state
// directory must not lead root elsewhere.
func TestALinkIsNotFollowed(t *testing.T) {
	state, other := t.TempDir(), t.TempDir()
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, Dir(state)); err != nil {
		t.Fatal(err)
	}
	if err := Set(state, "dcs", "x"); !errors.Is(err, ErrElsewhere) {
		t.Errorf("%v", err)
	}
	if info, err := os.Stat(other); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if list, err := os.ReadDir(other); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
