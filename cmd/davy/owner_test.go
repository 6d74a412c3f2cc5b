package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/secret"
)

// What root puts into the state directory belongs to the directory's owner;
// for anybody else nothing changes.
func TestStateBelongsToItsOwner(t *testing.T) {
	state := t.TempDir()
	if err := secret.Set(state, "dcs", "x"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(keyDir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 && os.Chown(state, 4711, 4711) == nil { // it fails where root is root of a name space with nobody else in it
		owner = 4711
	}
	paths := []string{
		keyDir(state), filepath.Join(keyDir(state), "device.key"), filepath.Join(state, agent.LatchName), filepath.Join(state, accept.Files[0]),
		secret.Dir(state), filepath.Join(secret.Dir(state), "dcs"),
	}
	for _, p := range paths[1:4] {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := giveToOwner(state); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		info, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != owner {
			t.Errorf("%s belongs to %d, the state directory to %d", p, uid, owner)
		}
	}
}
