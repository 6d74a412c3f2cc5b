package firmware

import (
	"io/fs"
	"testing"
)

func TestEmbedded(t *testing.T) {
	for _, x := range []struct {
		fs   fs.FS
		name string
	}{{Devices, "davy/bench-nh3.yaml"}, {Plants(), "README.md"}, {Plants(), "bench/site.yaml"}, {Plants(), "bench/rules.yaml"}} {
		if data, err := fs.ReadFile(x.fs, x.name); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", x.name, len(data), err)
		}
	}
}
