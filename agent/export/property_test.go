package export

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"davy/agent/wire"
	"davy/test/scale"
)

// small is a file short enough to flip each of its bytes.
func small(t testing.TB) []byte {
	t.Helper()
	m := &made{gateway: "GW", wall: 1_700_000_000 * second}
	for range 2 {
		m.begin(t)
		for i := range 5 {
			m.readings(t, 3)
			if i == 2 {
				m.sign(t, true)
			}
		}
		m.sign(t, true)
	}
	return m.write(t, certificate(seeded(authorityKey)))
}

// Whatever bit of a file is flipped, a frame of it is damaged and the others
// are read; and Verify says that it is not whole.
func TestEveryFlipIsFound(t *testing.T) {
	file := small(t)
	trust := Trust{Authority: pub(seeded(authorityKey))}
	whole := verified(t, file, trust)
	if !whole.Whole {
		t.Fatalf("%+v", whole.Findings)
	}
	all := len(split(t, file))
	rnd := rand.New(rand.NewPCG(1, 2))
	every := max(1, len(file)/scale.Of(300))
	for at := range file {
		if at%max(1, every/60) != 0 && at >= len(magic) { // only where the scale asks for less
			continue
		}
		bad := bytes.Clone(file)
		bad[at] ^= 1 << rnd.IntN(8)
		in, err := newFrames(bytes.NewReader(bad))
		if at < len(magic) {
			if err == nil {
				t.Fatalf("byte %d flipped: no error", at)
			}
			continue
		}
		good, damaged := 0, 0
		for {
			_, err := in.next()
			var d *damage
			if errors.Is(err, io.EOF) {
				break
			}
			switch {
			case err == nil:
				good++
			case errors.As(err, &d) && d.from <= int64(at) && int64(at) < d.to:
				damaged++
			default:
				t.Fatalf("byte %d flipped: %v", at, err)
			}
		}
		if good != all-1 || damaged != 1 {
			t.Fatalf("byte %d flipped: %d frames of %d, %d damaged", at, good, all, damaged)
		}
		if at%every != 0 {
			continue
		}
		r := verified(t, bad, trust)
		if r.Whole || !slices.ContainsFunc(r.Findings, func(f Finding) bool {
			return (f.Code == Damaged || f.Code == Cut) && f.From <= uint64(at) && uint64(at) <= f.To
		}) {
			t.Fatalf("byte %d flipped: %+v", at, r.Findings)
		}
	}
}

// A stretch that is gone, doubled or moved is found too.
func TestEverySpliceIsFound(t *testing.T) {
	file := small(t)
	trust := Trust{Authority: pub(seeded(authorityKey))}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range scale.Of(200) {
		i, j := len(magic)+rnd.IntN(len(file)-len(magic)), len(magic)+rnd.IntN(len(file)-len(magic))
		i, j = min(i, j), max(i, j)+1
		var bad []byte
		switch rnd.IntN(3) {
		case 0:
			bad = append(bytes.Clone(file[:i]), file[j:]...)
		case 1:
			bad = append(bytes.Clone(file[:j]), file[i:]...)
		case 2:
			k := i + rnd.IntN(j-i)
			bad = append(append(append(bytes.Clone(file[:i]), file[k:j]...), file[i:k]...), file[j:]...)
			if k == i {
				continue
			}
		}
		if bytes.Equal(bad, file) {
			continue
		}
		if r := verified(t, bad, trust); r.Whole {
			t.Fatalf("%d to %d spliced and nothing is wrong", i, j)
		}
	}
}

// A file of any bytes is findings or an error, and takes no more memory than it
// is large.
func FuzzVerify(f *testing.F) {
	file := small(f)
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add([]byte(magic))
	f.Add(append([]byte(magic), 'B', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0))
	for _, p := range split(f, file) { // what the fuzzer changes gets good checksums
		f.Add(append([]byte{p.kind}, p.payload...))
	}
	trust := Trust{Authority: pub(seeded(authorityKey)), Receiver: pub(seeded(receiverKey))}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Verify(bytes.NewReader(b), trust); err == nil && r.Whole && !bytes.Equal(b, file) {
			t.Error("another file is whole")
		}
		if len(b) == 0 || len(b) > maxFrame {
			return
		}
		parts := []part{{claimFrame, []byte(`{"gateway":"GW"}`)}, {epochFrame, make([]byte, 16)}, {b[0], b[1:]}, {b[0], b[1:]}}
		var out bytes.Buffer
		w := NewWriter(&out, Claim{}, nil)
		for _, p := range parts {
			w.frame(p.kind, p.payload)
		}
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(&out, trust); err != nil || r.Whole {
			t.Errorf("%v: another file is whole", err)
		}
	})
}

// Memory does not grow with the file: neither with what it holds nor with what
// it says that it holds.
func TestMemory(t *testing.T) {
	m := &made{gateway: "GW", wall: 1}
	m.begin(t)
	rnd, noise := rand.New(rand.NewPCG(5, 6)), make([]byte, 300)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	body := wire.EncodeEvents([]wire.Event{{Kind: 1, Note: hex.EncodeToString(noise)}})
	const blocks = 20_000
	var out bytes.Buffer
	w := NewWriter(&out, Claim{Gateway: "GW"}, nil)
	w.Epoch(m.epoch().id)
	k := wire.Block{Stream: wire.EventStream, First: 1, Count: 1, Body: body}
	for i := range scale.Of(blocks) {
		k.Leaf, k.First = uint64(i), uint64(i+1)
		if err := w.Block(&k, nil); err != nil {
			t.Fatal(err)
		}
		k.RootBefore = k.RootAfter()
	}
	w.EndEpoch([]Range{{wire.EventStream, 1, k.First}})
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	in := &watched{r: bytes.NewReader(out.Bytes()), every: out.Len() / 8, heap: heap}
	before := heap()
	if _, err := Verify(in, Trust{}); err != nil {
		t.Fatal(err)
	}
	const allowed = 2 << 20
	if in.most > before+allowed {
		t.Errorf("%d bytes of heap for a file of %d", in.most-before, out.Len())
	}
}

// watched reads, and looks at the heap now and then.
type watched struct {
	r     *bytes.Reader
	every int
	since int
	most  uint64
	heap  func() uint64
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if w.since += n; w.since >= w.every {
		w.since = 0
		w.most = max(w.most, w.heap())
	}
	return n, err
}

// The figure evidence.verify_readings_per_s: one core, from memory.
func BenchmarkVerify(b *testing.B) {
	m := &made{gateway: "GW", wall: 1_700_000_000 * second}
	m.begin(b)
	for range 200 {
		m.readings(b, 2500) // 500 tags at 1 s, 5 s a commit
	}
	m.sign(b, true)
	file := m.write(b, certificate(seeded(authorityKey)))
	b.SetBytes(int64(len(file)))
	var readings uint64
	for b.Loop() {
		r := verified(b, file, Trust{Authority: pub(seeded(authorityKey))})
		if !r.Whole {
			b.Fatal(r.Findings)
		}
		readings += r.Readings
	}
	b.ReportMetric(float64(readings)/b.Elapsed().Seconds(), "evidence.verify_readings_per_s")
}
