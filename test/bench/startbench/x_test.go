package startbench

import (
	"os"
	"testing"
	"time"
)

func TestX(t *testing.T) {
	d, _ := os.MkdirTemp("", "jx")
	defer os.RemoveAll(d)
	b := time.Now()
	n, err := fill(d, "GW", "regulator")
	t.Log(n, err, time.Since(b))
}
