//go:build davyfault

package keep

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// faultyDisk makes the journal's disk fail as DAVY_FAULT_DISK says: "full",
// "readonly", "delay:2s" (every operation), "" (healthy). "@file" reads that
// from a file before each operation, so that a test can change it.
func faultyDisk() func(op string) error {
	how := os.Getenv("DAVY_FAULT_DISK")
	if how == "" {
		return nil
	}
	return func(op string) error {
		how := how
		if path, ok := strings.CutPrefix(how, "@"); ok {
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			how = strings.TrimSpace(string(raw))
		}
		switch {
		case how == "full" && (op == "commit" || op == "create" || op == "reserve"):
			return syscall.ENOSPC
		case how == "readonly" && op != "read":
			return syscall.EROFS
		}
		if d, ok := strings.CutPrefix(how, "delay:"); ok {
			if wait, err := time.ParseDuration(d); err == nil {
				time.Sleep(wait)
			}
		}
		return nil
	}
}
