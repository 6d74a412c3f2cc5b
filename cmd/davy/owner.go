package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"davy/agent"
	"davy/agent/accept"
	"davy/agent/secret"
)

// giveToOwner gives what root has just put into the state directory to the
// directory's owner: the agent runs as that user and could not read it.
func giveToOwner(state string) error {
	if os.Getuid() != 0 {
		return nil
	}
	info, err := os.Stat(state)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	keys, err := filepath.Glob(filepath.Join(keyDir(state), "*"))
	if err != nil {
		return err
	}
	secrets, err := filepath.Glob(filepath.Join(secret.Dir(state), "*"))
	if err != nil {
		return err
	}
	paths := append(append(keys, secrets...), keyDir(state), secret.Dir(state), filepath.Join(state, agent.LatchName))
	for _, name := range accept.Files {
		paths = append(paths, filepath.Join(state, name))
	}
	for _, path := range paths {
		if err := os.Lchown(path, int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
