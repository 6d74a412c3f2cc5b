package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"davy/test/bench/figure"
)

const armv7MB = 14 // MB of 10⁶ bytes

// binary takes the size of the agent as it goes to a gateway: stripped, 32-bit.
func binary(w io.Writer) bool {
	const name = "binary.armv7_mb"
	size, err := build("davy/cmd/davy")
	if err != nil {
		return figure.Failed(w, name, err)
	}
	return figure.Print(w, name, float64(size)/1e6, "MB", armv7MB)
}

func build(pkg string) (int64, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0")
	if says, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build %s: %w: %s", pkg, err, says)
	}
	info, err := os.Stat(out)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
