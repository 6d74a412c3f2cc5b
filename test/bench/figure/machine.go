package figure

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Machine says which processor and which disk stand behind the figures; dir is
// on the disk that the benches write to.
func Machine(dir string) string {
	cpu := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("processor: %s, %d of them; disk: %s; %s", cpu, runtime.NumCPU(), disk(dir), runtime.Version())
}

// disk returns the file system that dir is on, as the kernel names it.
func disk(dir string) string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown"
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	best, found := -1, "unknown"
	for line := range strings.Lines(string(table)) {
		// proc(5): id parent major:minor root mountpoint options [tags] - type source options
		place, what, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(place), strings.Fields(what)
		if !ok || len(left) < 5 || len(right) < 2 {
			continue
		}
		at := left[4]
		below := at == "/" || dir == at || strings.HasPrefix(dir, at+"/")
		if below && len(at) >= best {
			best, found = len(at), right[0]+" on "+right[1]
		}
	}
	return found
}
