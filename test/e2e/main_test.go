package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"davy/test/rig"
)

// The programs: as they are; and with faults that can be put into the disk.
var bin, faulty string

// TestMain builds what all tests run, once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "davy-e2e-")
		if err == nil {
			defer os.RemoveAll(dir)
			bin, faulty = filepath.Join(dir, "bin"), filepath.Join(dir, "faulty")
			err = build()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func build() error {
	if err := errors.Join(os.Mkdir(faulty, 0o755), rig.Build(bin, "davy", "davy-plant", "davy-receiver")); err != nil {
		return err
	}
	for _, name := range []string{"davy-plant", "davy-receiver"} {
		if err := os.Symlink(filepath.Join(bin, name), filepath.Join(faulty, name)); err != nil {
			return err
		}
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(bin, "goburrow"), "./test/e2e/goburrow")
	cmd.Dir = rig.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build goburrow: %w\n%s", err, out)
	}
	return rig.BuildTags(faulty, "davyfault", "davy")
}
