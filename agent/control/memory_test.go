package control

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"davy/agent/ring"
	"davy/drivers/tag"
	"davy/rules"
)

func memory() Memory {
	v, _ := tag.Float64Value(160.5)
	return Memory{
		Lineage: [16]byte{1, 2, 3}, Serial: 1 << 40, Armed: true, Saved: tag.Stamp{Wall: 1795294347, Mono: -7}, Boot: "b0-07",
		Plan: [32]byte{9}, Engine: []byte{0, 1, 2, 255},
		Outbox: []ring.Event{{Serial: 7, Event: rules.Event{Kind: rules.AlarmRaised, Rule: "氨.high", Occurrence: 3, Value: v, Who: "li", Note: "n"}}},
	}
}

func TestMemoryComesBack(t *testing.T) {
	f := func(m Memory) {
		t.Helper()
		got, err := DecodeMemory(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Engine) == 0 {
			got.Engine = nil
		}
		if len(got.Outbox) == 0 {
			got.Outbox = nil
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got  %+v\nwant %+v", got, m)
		}
	}
	f(Memory{})
	f(memory())
	m := memory()
	m.Armed, m.Outbox = false, nil
	f(m)
}

// Every cut and every wrong head is an error, none a panic, and none comes
// back as something else in silence.
func TestMemoryCutShort(t *testing.T) {
	m := memory()
	whole := m.Append(nil)
	for n := range whole {
		if got, err := DecodeMemory(whole[:n]); err == nil {
			t.Errorf("cut at %d of %d: %+v", n, len(whole), got)
		}
	}
	if _, err := DecodeMemory(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a byte too many was taken")
	}
	for _, c := range []struct {
		name string
		at   int
		b    byte
	}{{"version", 0, 2}, {"armed", 25, 2}} {
		b := bytes.Clone(whole)
		b[c.at] = c.b
		if _, err := DecodeMemory(b); err == nil {
			t.Errorf("wrong %s was taken", c.name)
		}
	}
	b := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(b[74:], 1<<31) // a length that 32 bits would turn negative
	if _, err := DecodeMemory(b); err == nil {
		t.Error("a length of 2 GB was taken")
	}
}

func FuzzDecodeMemory(f *testing.F) {
	m := memory()
	f.Add(m.Append(nil))
	f.Add((&Memory{}).Append(nil))
	f.Add([]byte{memoryVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMemory(b)
		if err != nil {
			return
		}
		first := m.Append(nil)
		again, err := DecodeMemory(first)
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if second := again.Append(nil); !bytes.Equal(first, second) {
			t.Fatalf("not the same the second time:\n%x\n%x", first, second)
		}
	})
}
