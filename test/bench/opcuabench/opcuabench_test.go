package opcuabench

import (
	"strings"
	"testing"
)

func TestTheFiguresHold(t *testing.T) {
	var out strings.Builder
	if !Run(&out) {
		t.Error(out.String())
	}
	if !strings.HasPrefix(out.String(), "BENCH opcua.items_10k_cpu_vs_gopcua ") {
		t.Error(out.String())
	}
	t.Log(out.String())
}
