//go:build !race

package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"davy/agent/wire"
	"davy/test/scale"
)

// kept is a journal that was closed in order: its files, and every record.
type kept struct {
	b     *bench
	files map[string][]byte
	want  map[string]Record
	older map[string][]byte // the same files, earlier
}

// write appends rounds of events, and to every third readings and a health
// record whose note takes that many bytes.
func write(t *testing.T, rounds, readings, note int) *kept {
	w := &kept{b: newBench(t), want: map[string]Record{}}
	w.b.o.SegmentBytes = 256 << 10
	j := w.b.open()
	for i := range rounds {
		must(t, j.Append(Batch{Events: w.b.events(uint64(i+1), 2), Serial: uint64(i + 2)}))
		if i%3 == 0 {
			health := w.b.events(uint64(1000+i), 1)
			health[0].Note = noise(w.b.rnd, note)
			must(t, j.Append(Batch{Readings: w.b.readings(readings), Health: health}))
		}
		if i == rounds/2 {
			w.older = w.read(t)
		}
	}
	must(t, j.Append(Batch{Readings: w.b.readings(10)})) // each family's state knows the other's end
	must(t, j.Close())
	r, err := OpenReadOnly(w.b.o.Dir)
	must(t, err)
	defer r.Close()
	must(t, r.Walk(func(rec Record) error { w.want[recordKey(rec)] = rec; return nil }))
	w.files = w.read(t)
	return w
}

func (w *kept) read(t *testing.T) map[string][]byte {
	out := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join(w.b.o.Dir, "*.seg"))
	must(t, err)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		must(t, err)
		out[filepath.Base(path)] = raw
	}
	return out
}

// survives opens a copy of the journal with some files replaced (nil: gone), and
// holds it to this: no panic, no record that nobody wrote, what is missing is
// named, and it goes on. It returns how many files were set aside.
func (w *kept) survives(t *testing.T, what string, replaced map[string][]byte) int {
	t.Helper()
	o := w.b.o
	o.Dir = filepath.Join(t.TempDir(), "journal")
	defer os.RemoveAll(o.Dir)
	must(t, os.MkdirAll(o.Dir, 0o700))
	for name, raw := range w.files {
		if other, ok := replaced[name]; ok {
			raw = other
		}
		if raw != nil {
			must(t, os.WriteFile(filepath.Join(o.Dir, name), raw, 0o600))
		}
	}
	j, err := Open(o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer j.Close()
	c, err := j.Cursor("regulator")
	must(t, err)
	there := map[string]bool{}
	for _, stream := range streamNames {
		for _, it := range drain(t, c, stream) {
			must(t, each(&it, func(rec Record) error {
				if rec.Epoch == j.Epoch() {
					return nil
				}
				key := recordKey(rec)
				if _, ok := w.want[key]; !ok || there[key] {
					t.Fatalf("%s: a record that nobody wrote, or again: %+v", what, rec)
				}
				there[key] = true
				return nil
			}))
		}
	}
	must(t, j.Append(Batch{Events: w.b.events(5000, 1), Readings: w.b.readings(3)}))
	aside := j.Stat().Quarantined
	must(t, j.Close())
	_, gaps := verify(t, o.Dir)
	for key, rec := range w.want {
		named := slices.ContainsFunc(gaps, func(g wire.Gap) bool {
			return g.Stream == rec.Stream && string(g.Epoch) == string(rec.Epoch[:]) && g.From <= rec.Number && rec.Number <= g.To
		})
		if !there[key] && !named {
			t.Fatalf("%s: %s %d is neither there nor named", what, rec.Stream, rec.Number)
		}
		if there[key] && named && aside == 0 {
			t.Fatalf("%s: %s %d is there and is called lost", what, rec.Stream, rec.Number)
		}
	}
	return aside
}

// page is one that the newest state of a file uses.
type page struct {
	kind     string
	at, size int
}

// pagesOf walks the tree of a bbolt file, whose layout is its documented format:
// 16 bytes of header (id, flags, count, overflow), then elements of 16 bytes.
func pagesOf(t *testing.T, raw []byte) (out []page) {
	const size = 4096
	meta := 0
	if txid := func(at int) uint64 { return binary.LittleEndian.Uint64(raw[at+16+48:]) }; txid(size) > txid(0) {
		meta = size
	}
	out = append(out, page{"newest meta", meta, 80}, page{"older meta", size - meta, 80})
	whole := func(id uint64) (at, length int, flags, count uint16) {
		at = int(id) * size
		return at, size * (1 + int(binary.LittleEndian.Uint32(raw[at+12:]))), binary.LittleEndian.Uint16(raw[at+8:]), binary.LittleEndian.Uint16(raw[at+10:])
	}
	at, length, flags, _ := whole(binary.LittleEndian.Uint64(raw[meta+16+32:]))
	if flags != 0x10 {
		t.Fatalf("page at %d is no freelist: %x", at, flags)
	}
	out = append(out, page{"freelist", at, min(length, 512)})
	var walk func(id uint64, depth int)
	walk = func(id uint64, depth int) {
		at, length, flags, count := whole(id)
		used := 16 + 16*int(count)
		switch flags {
		case 1:
			out = append(out, page{"branch", at, used + 64})
			for i := range int(count) {
				walk(binary.LittleEndian.Uint64(raw[at+16+16*i+8:]), depth)
			}
		case 2:
			kind := []string{"root leaf", "leaf", "value"}[min(depth, 2)]
			out = append(out, page{kind, at, used + 64})
			if length > size {
				out = append(out, page{"overflow", at + size, length - size})
			}
			for i := range int(count) {
				e := at + 16 + 16*i
				pos, key := int(binary.LittleEndian.Uint32(raw[e+4:])), int(binary.LittleEndian.Uint32(raw[e+8:]))
				if binary.LittleEndian.Uint32(raw[e:]) != 1 {
					continue
				}
				value := e + pos + key
				if root := binary.LittleEndian.Uint64(raw[value:]); root != 0 {
					walk(root, depth+1)
				} else {
					out = append(out, page{"inline bucket", value, int(binary.LittleEndian.Uint32(raw[e+12:]))})
				}
			}
		default:
			t.Fatalf("page at %d: %x", at, flags)
		}
	}
	walk(binary.LittleEndian.Uint64(raw[meta+16+16:]), 0)
	return out
}

// Bits are flipped in every kind of page, and whole pages are zeroed.
func TestEveryKindOfPage(t *testing.T) {
	w := write(t, 150, 300, 8000)
	rnd := rand.New(rand.NewPCG(7, 8))
	kinds := map[string][]func() (string, map[string][]byte){}
	for name, raw := range w.files {
		for _, p := range pagesOf(t, raw) {
			kinds[p.kind] = append(kinds[p.kind], func() (string, map[string][]byte) {
				raw := bytes.Clone(raw)
				if rnd.IntN(5) == 0 {
					clear(raw[p.at : p.at+p.size])
					return fmt.Sprintf("%s: %s at %d zeroed", name, p.kind, p.at), map[string][]byte{name: raw}
				}
				at, bit := p.at+rnd.IntN(p.size), rnd.IntN(8)
				raw[at] ^= 1 << bit
				return fmt.Sprintf("%s: bit %d at %d in %s at %d", name, bit, at, p.kind, p.at), map[string][]byte{name: raw}
			})
		}
	}
	for _, kind := range []string{"newest meta", "older meta", "freelist", "branch", "root leaf", "leaf", "inline bucket", "value", "overflow"} {
		if len(kinds[kind]) == 0 {
			t.Fatalf("no %s: %v", kind, len(kinds))
		}
		aside, n := 0, scale.Of(3)
		for range n {
			what, files := kinds[kind][rnd.IntN(len(kinds[kind]))]()
			aside += w.survives(t, what, files)
		}
		t.Logf("%s: %d of %d files set aside", kind, aside, n)
	}
}

// Files that are cut, empty, gone, exchanged, an older copy of themselves, or a
// copy of another.
func TestWrongFiles(t *testing.T) {
	w := write(t, 30, 50, 50_000)
	var names []string
	for name := range w.files {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		raw := w.files[name]
		f := func(what string, least int, files map[string][]byte) {
			t.Helper()
			if n := w.survives(t, name+" "+what, files); n < least {
				t.Errorf("%s %s: %d files set aside", name, what, n)
			}
		}
		for _, n := range []int{0, 1, 4096, 8192, len(raw) / 2} {
			f(fmt.Sprintf("cut to %d", n), 1, map[string][]byte{name: raw[:n]})
		}
		f("of zeros", 1, map[string][]byte{name: make([]byte, len(raw))})
		other := names[(i+1)%len(names)]
		f("exchanged with "+other, 0, map[string][]byte{name: w.files[other], other: raw})
		if name != slices.MaxFunc(names, func(a, b string) int { return bytes.Compare([]byte(a[:5]), []byte(b[:5])) }) {
			f("a copy of "+other, 0, map[string][]byte{name: w.files[other]})
		}
		if older, ok := w.older[name]; ok {
			f("of an hour ago", 0, map[string][]byte{name: older})
		}
		if name != "event-00000000.seg" { // with it goes the newest state, and what only that knew
			f("gone", 0, map[string][]byte{name: nil})
		}
	}
}
