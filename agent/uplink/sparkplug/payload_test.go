package sparkplug

import (
	"bytes"
	"encoding/hex"
	"testing"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// A payload written down byte by byte from the message's definition.
func TestPayload(t *testing.T) {
	got := appendPayload(nil, 5, 3, []metric{
		{name: "a", alias: 7, at: 1, kind: typeInt64, bits: ^uint64(0)},
		{alias: 8, at: 2, kind: typeFloat, bits: 0x3f800000, history: true, transient: true, props: []property{{key: "Q", kind: typeInt32, bits: qualityStale}}},
		{alias: 9, at: 2, kind: typeString, null: true},
	})
	want := "0805" +
		"1214" + "0a0161" + "1007" + "1801" + "2004" + "58ffffffffffffffffff01" +
		"121b" + "1008" + "1802" + "2009" + "2801" + "3001" + "4a0a" + "0a0151" + "1205" + "0803" + "18f403" + "650000803f" +
		"1208" + "1009" + "1802" + "200c" + "3801" +
		"1803"
	if hex.EncodeToString(got) != want {
		t.Errorf("got\n%x, want\n%s", got, want)
	}
	if b := appendPayload(nil, 5, -1, nil); !bytes.Equal(b, []byte{8, 5}) {
		t.Errorf("without a sequence number: %x", b)
	}
}

// Of a command only a rebirth is obeyed, and nothing in it can hurt.
func FuzzCommand(f *testing.F) {
	yes := metric{name: rebirthName, kind: typeBoolean, bits: 1}
	for _, list := range [][]metric{
		{yes}, {{name: rebirthName, kind: typeBoolean}}, {{name: "Node Control/Reboot", kind: typeBoolean, bits: 1}}, {yes, {name: "x", kind: typeDouble}}, {},
	} {
		f.Add(appendPayload(nil, 1, -1, list))
	}
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		rebirth, others, err := asksRebirth(b)
		if rebirth && !bytes.Contains(b, []byte(rebirthName)) {
			t.Error("a rebirth out of nothing")
		}
		if others > maxCommands || err == nil && rebirth && others < 0 {
			t.Errorf("%d others", others)
		}
	})
}

func TestCommands(t *testing.T) {
	yes := metric{name: rebirthName, kind: typeBoolean, bits: 1}
	for _, c := range []struct {
		list    []metric
		rebirth bool
		others  int
	}{
		{[]metric{yes}, true, 0},
		{[]metric{{name: rebirthName, kind: typeBoolean}}, false, 1},
		{[]metric{{name: rebirthName, kind: typeInt64, bits: 1}}, false, 1},
		{[]metric{{name: "outputs/fan1", kind: typeBoolean, bits: 1}, yes}, true, 1},
		{nil, false, 0},
	} {
		rebirth, others, err := asksRebirth(appendPayload(nil, 1, -1, c.list))
		if rebirth != c.rebirth || others != c.others || err != nil {
			t.Errorf("%+v: %v, %d, %v", c.list, rebirth, others, err)
		}
	}
}

// Devices and metrics of the names that a site can have.
func TestNames(t *testing.T) {
	n := &node{byName: map[string]*point{}, devices: map[string]*device{}}
	n.device("")
	for name, want := range map[string][2]string{
		"comp1.run": {"comp1", "run"}, "total": {"", "total"}, "record.stopped": {"", "record.stopped"}, "link.plc.silent": {"", "link.plc.silent"},
	} {
		if dev, metric := n.split(name); dev != want[0] || metric != want[1] {
			t.Errorf("%s is %q of %q", name, metric, dev)
		}
	}
	p := n.point(&wire.TableTag{Name: "comp1.run", Kind: tag.Bool})
	if again := n.point(&wire.TableTag{Name: "comp1.run", Kind: tag.Bool}); again != p || p.alias == 0 {
		t.Errorf("%+v and %+v", p, again)
	}
	if n.point(&wire.TableTag{Name: "comp1.run", Kind: tag.Int}) != nil {
		t.Error("one name with two data types")
	}
	seen := map[uint64]bool{}
	for i := range MaxDevices + 5 {
		p := n.point(&wire.TableTag{Name: "d" + hex.EncodeToString([]byte{byte(i >> 8), byte(i)}) + ".x", Kind: tag.Bool})
		if seen[p.alias] {
			t.Fatalf("alias %d twice", p.alias)
		}
		seen[p.alias] = true
	}
	if len(n.order) != MaxDevices+1 {
		t.Errorf("%d devices", len(n.order))
	}
}
