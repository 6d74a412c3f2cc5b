package config

import (
	"context"
	"encoding/binary"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/tag"
)

// registers answers Modbus TCP requests on one connection from a map of words
// by table and number, 0 for what is not there. wide says that a register has
// 32 bits.
type registers struct {
	words map[modbus.Address]uint32
	wide  bool
}

func (r registers) serve(c net.Conn) {
	defer c.Close()
	head := make([]byte, 12)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		table := map[byte]modbus.Table{1: modbus.Coil, 2: modbus.Discrete, 3: modbus.Holding, 4: modbus.Input}[head[7]]
		first, count := binary.BigEndian.Uint16(head[8:]), int(binary.BigEndian.Uint16(head[10:]))
		var data []byte
		for i := range count {
			w := r.words[modbus.Address{Table: table, Number: first + uint16(i)}]
			switch {
			case table.Bits():
				if i%8 == 0 {
					data = append(data, 0)
				}
				data[i/8] |= byte(w&1) << (i % 8)
			case r.wide:
				data = binary.BigEndian.AppendUint32(data, w)
			default:
				data = binary.BigEndian.AppendUint16(data, uint16(w))
			}
		}
		out := append(head[:4:4], 0, byte(3+len(data)), head[6], head[7], byte(len(data)))
		if _, err := c.Write(append(out, data...)); err != nil {
			return
		}
	}
}

// The vectors of every template, read by the driver from registers that hold
// what the vector says, through the requests of the plan.
func TestVectors(t *testing.T) {
	devices := os.DirFS("../../firmware-configs/devices")
	templates, vectors := 0, 0
	err := fs.WalkDir(devices, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		data, err := fs.ReadFile(devices, path)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(path, ".yaml")
		b := bundleOf(smallSite+"links: {plc: {modbus-tcp: 10.0.0.1}}\ndevices: {d: {link: plc, station: 1, template: "+name+"}}\n", "")
		b.Put(templatePath(name), data)
		c := newCompiler(b, testSet())
		c.compile()
		if !c.problems.OK() {
			t.Fatalf("%s: %v", name, codes(c.problems))
		}
		templates++
		for _, v := range c.devices[0].vectors {
			vectors++
			readVector(t, c, v)
		}
		if len(c.devices[0].vectors) == 0 && !strings.HasPrefix(name, "davy/") {
			t.Errorf("%s has no vectors", name)
		}
		return nil
	})
	if err != nil || templates < 6 || vectors < 15 {
		t.Errorf("%d templates, %d vectors: %v", templates, vectors, err)
	}
}

func readVector(t *testing.T, c *compiler, v Vector) {
	t.Helper()
	r := registers{words: map[modbus.Address]uint32{}}
	if n := c.paper(v.n.place.File).root.get("registers"); n != nil {
		r.wide = strings.HasPrefix(n.text, "32")
	}
	for _, w := range v.words {
		at := w.at.(modbus.Address)
		for i, x := range w.words {
			r.words[modbus.Address{Table: at.Table, Number: at.Number + uint16(i)}] = x
		}
	}
	l := c.plan.Links[0]
	got, err := readAll(t, l, r)
	if err != nil {
		t.Fatalf("%s: %v", v.n.place, err)
	}
	for _, x := range v.expect {
		name := c.plan.Tags[x.tag].Name
		switch q, value := got[x.tag].Quality, got[x.tag].Value; {
		case x.quality.Bad():
			if !q.Bad() || q.Reason() != x.quality.Reason() {
				t.Errorf("%s: %s is %v %#x, want %#x", x.where.place, name, value, q, x.quality)
			}
		case q != x.quality || value.Float() != x.value.Float() || value.Kind() != x.value.Kind():
			t.Errorf("%s: %s is %v %#x, want %v %#x", x.where.place, name, value, q, x.value, x.quality)
		}
	}
}

// readAll asks every request of a link once.
func readAll(t *testing.T, l Link, r registers) (map[tag.ID]tag.Reading, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	driver := modbus.TCP{Dial: func(context.Context, string) (modbus.Port, error) {
		ours, theirs := net.Pipe()
		go r.serve(theirs)
		return ours, nil
	}}
	link, err := driver.Open(ctx, drivers.LinkConfig{
		Name: l.Name, Settings: l.Settings, Timeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
		Now: func() tag.Stamp { now := time.Now(); return tag.Stamp{Wall: now.UnixNano(), Mono: now.UnixNano()} },
	})
	if err != nil {
		return nil, err
	}
	defer link.Close()
	got := map[tag.ID]tag.Reading{}
	for _, s := range l.Scans {
		list, err := link.Read(ctx, s.Request, nil)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			got[x.Tag] = x
		}
	}
	return got, nil
}
