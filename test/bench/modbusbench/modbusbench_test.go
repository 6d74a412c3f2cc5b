package modbusbench

import (
	"strings"
	"testing"
)

func TestTheFiguresHold(t *testing.T) {
	var out strings.Builder
	if !Run(&out) {
		t.Error(out.String())
	}
	if !strings.HasPrefix(out.String(), "BENCH modbus.cpu_vs_raw ") {
		t.Error(out.String())
	}
	t.Log(out.String())
}
