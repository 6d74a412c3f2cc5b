package modbusbench

import (
	"strings"
	"testing"
)

// What is a count holds everywhere; times are for a quiet machine, and `make bench`.
func TestReadingAllocatesNothing(t *testing.T) {
	b, err := newBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	var out strings.Builder
	if !b.allocs(&out) || !strings.HasPrefix(out.String(), "BENCH modbus.allocs_per_read 0 ") {
		t.Error(out.String())
	}
}
