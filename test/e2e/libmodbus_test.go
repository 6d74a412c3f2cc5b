package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
	"davy/test/rig"
)

// libmodbus builds the libmodbus device, starts it and returns what it says:
// its port, or with the path of a serial line that path.
func libmodbus(t *testing.T, args ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server")
	if out, err := exec.Command("gcc", "-Wall", "-Werror", "-I/usr/include/modbus", "-o", binary, "libmodbus/server.c", "-lmodbus").CombinedOutput(); err != nil {
		t.Fatalf("build the libmodbus device (needs gcc and libmodbus-dev): %v\n%s", err, out)
	}
	server := exec.Command(binary, args...)
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close() // it ends with its input
		if err := server.Wait(); err != nil {
			t.Errorf("the libmodbus device: %v\n%s", err, said.String())
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the libmodbus device does not say its port: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(port)
}

// Davy's Modbus driver against a device that nobody here wrote, on a connection.
func TestModbusDriverAgainstLibmodbus(t *testing.T) {
	t.Parallel()
	against(t, modbus.TCP{}, drivers.Settings{Target: "127.0.0.1:" + libmodbus(t)})
}

// The same on a serial line: two pseudo terminals with the relay between them.
func TestModbusDriverAgainstLibmodbusOnALine(t *testing.T) {
	t.Parallel()
	l, err := rig.NewLine(19200)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	libmodbus(t, l.Slave)
	d := modbus.RTU{}
	settings, err := d.ParseLink(l.Master, drivers.Fields{"serial": "19200 8E1", "other_master": "allow"})
	if err != nil {
		t.Fatal(err)
	}
	against(t, d, settings)
}

// against reads and writes everything that the device has.
func against(t *testing.T, driver drivers.Driver, settings drivers.Settings) {
	t.Helper()
	start := time.Now()
	link, err := driver.Open(t.Context(), drivers.LinkConfig{
		Name: "plc", Settings: settings, Timeout: 2 * time.Second,
		Now: func() tag.Stamp { return tag.Stamp{Wall: time.Now().UnixNano(), Mono: int64(time.Since(start)) + 1} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	}()
	id := tag.ID(0)
	point := func(at, typ string) drivers.Point {
		t.Helper()
		a, err := driver.ParseAddress(at)
		if err != nil {
			t.Fatal(err)
		}
		ty, err := driver.ParseType(a, typ)
		if err != nil {
			t.Fatal(err)
		}
		id++
		return drivers.Point{Tag: id, Name: tag.Name("d." + at), Station: 1, Address: a, Type: ty}
	}
	read := func(points ...drivers.Point) map[tag.Name]tag.Reading {
		t.Helper()
		requests, err := driver.Plan(settings, points)
		if err != nil {
			t.Fatal(err)
		}
		got := map[tag.Name]tag.Reading{}
		for _, q := range requests {
			rs, err := link.Read(context.Background(), q, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range q.Points() {
				got[p.Name] = rs[i]
			}
		}
		return got
	}

	want := map[string]string{
		"holding 0": "0", "ref 40124": "123", "holding 499": "499", "ref 30011": "10", "input 200": "200",
		"discrete 9": "true", "ref 10011": "false", "coil 3": "false", "holding 7 bit 2": "true", "holding 7 bit 3": "false",
	}
	var points []drivers.Point
	for at := range want {
		points = append(points, point(at, ""))
	}
	for name, r := range read(points...) {
		if w := want[strings.TrimPrefix(string(name), "d.")]; r.Value.String() != w || !r.Quality.Good() {
			t.Errorf("%s is %v %#x, want %s", name, r.Value, uint32(r.Quality), w)
		}
	}

	// A block that runs over the device's end: its good registers are good.
	got := read(point("holding 495", ""), point("holding 499", ""), point("holding 500", ""), point("holding 503", "float32"))
	for name, good := range map[tag.Name]bool{"d.holding 495": true, "d.holding 499": true, "d.holding 500": false, "d.holding 503": false} {
		if r := got[name]; r.Quality.Good() != good || !good && r.Quality != tag.BadConfig {
			t.Errorf("%s is %v %#x", name, r.Value, uint32(r.Quality))
		}
	}

	// What is written reads back, in every order and width.
	for _, c := range []struct {
		at, typ string
		value   float64
	}{
		{"coil 17", "", 1},
		{"coil 17", "", 0},
		{"holding 300", "int16", -1234},
		{"holding 301", "uint16", 65535},
		{"holding 310", "float32", 229.25},
		{"holding 310", "float32 CDAB", -17.5},
		{"holding 320", "float64 DCBA", 1e-9},
		{"holding 330", "int32 BADC", -70000},
		{"holding 340", "uint64 CDAB", 1 << 40},
	} {
		p := point(c.at, c.typ)
		v, ok := tag.Float64Value(c.value)
		if p.Write = true; !ok {
			t.Fatal(c.value)
		}
		if err := link.Write(t.Context(), p, v); err != nil {
			t.Errorf("write %s %s: %v", c.at, c.typ, err)
		}
		if r := read(p)[p.Name]; !r.Quality.Good() || r.Value.Float() != c.value {
			t.Errorf("%s %s was written %v and is %v %#x", c.at, c.typ, c.value, r.Value, uint32(r.Quality))
		}
	}
	p := point("holding 900", "")
	p.Write = true
	if err := link.Write(t.Context(), p, tag.IntValue(1)); err == nil || !strings.Contains(err.Error(), "illegal data address") {
		t.Errorf("a register that is not there was written: %v", err)
	}
}
