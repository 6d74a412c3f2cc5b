package gapbench

import (
	"crypto/tls"
	"io/fs"
	"strings"
	"testing"

	"davy/agent/config"
	firmware "davy/firmware-configs"
)

// The bench plant's site gets all the uplinks that a site may have.
func TestMany(t *testing.T) {
	raw, err := fs.ReadFile(firmware.Plants(), "bench/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := many("site.yaml", string(raw))
	if n := strings.Count(text, `mqtt: "tls://127.0.0.1:1883"`); n != config.MaxUplinks || strings.Contains(text, "tcp://127.0.0.1:1883\n") {
		t.Errorf("%d uplinks:\n%s", n, text)
	}
	if !strings.Contains(text, "\njournal:") || !strings.Contains(text, "\ndevices:") {
		t.Error("more than the uplinks was replaced")
	}
	if many("rules.yaml", string(raw)) != string(raw) {
		t.Error("another file was changed")
	}
}

// A client that verifies gives the handshake up, and that is counted.
func TestRefuser(t *testing.T) {
	r, err := newRefuser()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", r.addr(), &tls.Config{ServerName: "127.0.0.1"})
	if err == nil {
		c.Close()
		t.Error("a certificate that nobody signed is trusted")
	}
	r.close()
	if n := r.failed.Load(); n != 1 {
		t.Errorf("%d handshakes failed", n)
	}
}

func TestOneProcessor(t *testing.T) {
	cpu, err := oneProcessor()
	if err != nil || cpu < 0 {
		t.Fatalf("processor %d, %v", cpu, err)
	}
	s := newSleeper(cpu)
	if worst := s.stop(); worst < 0 {
		t.Errorf("worst %v", worst)
	}
}
