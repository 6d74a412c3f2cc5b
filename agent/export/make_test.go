package export

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"testing"

	"davy/agent/evidence"
	"davy/agent/merkle"
	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
)

func seeded(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// The keys of the tests.
const (
	deviceKey = iota + 1
	receiverKey
	authorityKey
	strangerKey
)

const second = int64(1e9)

// made is a journal of the tests: its epochs with all that a gateway would have.
type made struct {
	gateway string
	epochs  []*madeEpoch
	wall    int64
}

type madeEpoch struct {
	id     wire.Epoch
	blocks []wire.Block
	stored []merkle.Hash
	heads  map[string]*wire.Head
	notes  map[uint64][]byte // by size
	newest []byte
}

func (e *madeEpoch) at(place int64) (merkle.Hash, error) { return e.stored[place], nil }

func (m *made) epoch() *madeEpoch { return m.epochs[len(m.epochs)-1] }

// begin begins an epoch whose first record names its parent.
func (m *made) begin(t testing.TB) {
	t.Helper()
	start := &wire.Start{Version: "test", Clean: true}
	if len(m.epochs) > 0 {
		p := m.epoch()
		start.Parent = bytes.Clone(p.id[:])
		for _, name := range []string{wire.EventStream, wire.ReadingStream, wire.HealthStream} {
			start.ParentHeads = append(start.ParentHeads, *p.head(name))
		}
		start.ParentCheckpoint = p.newest
	}
	e := &madeEpoch{id: wire.Epoch{byte(len(m.epochs) + 1), 15: 7}, heads: map[string]*wire.Head{}, notes: map[uint64][]byte{}}
	m.epochs = append(m.epochs, e)
	m.events(t, wire.Event{Kind: uint32(ring.EpochStarted), Start: start})
	m.events(t, wire.Event{Kind: uint32(ring.TagTable), Table: &wire.Table{Tags: []wire.TableTag{{ID: 1, Name: "nh3.gas"}}}}, wire.Event{Kind: 1})
}

func (e *madeEpoch) head(name string) *wire.Head {
	if e.heads[name] == nil {
		e.heads[name] = &wire.Head{Stream: name}
	}
	return e.heads[name]
}

func (m *made) add(t testing.TB, stream string, count int, body []byte) {
	t.Helper()
	e := m.epoch()
	h := e.head(stream)
	k := wire.Block{Stream: stream, First: h.Number + 1, Count: uint32(count), Body: body, RootBefore: h.Root, Leaf: uint64(len(e.blocks))}
	h.Number, h.Root = k.Last(), k.RootAfter()
	hashes, err := merkle.Tree{}.Add(int64(k.Leaf), merkle.Tree{}.Leaf(leafData(&k)), e.at)
	if err != nil {
		t.Fatal(err)
	}
	e.blocks, e.stored = append(e.blocks, k), append(e.stored, hashes...)
}

func (m *made) events(t testing.TB, events ...wire.Event) {
	for i := range events {
		m.wall += second
		events[i].At = tag.Stamp{Wall: m.wall, Mono: m.wall}
	}
	m.add(t, wire.EventStream, len(events), wire.EncodeEvents(events))
}

func (m *made) readings(t testing.TB, n int) {
	readings := make([]tag.Reading, n)
	for i := range readings {
		m.wall += second
		readings[i] = tag.Reading{Tag: 1, Value: tag.IntValue(m.wall / second % 100), Quality: tag.GoodQuality, Received: tag.Stamp{Wall: m.wall, Mono: m.wall}}
	}
	m.add(t, wire.ReadingStream, n, wire.EncodeReadings(readings))
}

// lose drops the next n readings, and names them in a gap record if asked to.
func (m *made) lose(t testing.TB, n uint64, named bool) {
	h := m.epoch().head(wire.ReadingStream)
	from := h.Number + 1
	h.Number += n
	h.Root = wire.Root{9, byte(n)}
	if named {
		m.events(t, wire.Event{Kind: uint32(ring.GapRecorded), Gap: &wire.Gap{Stream: wire.ReadingStream, From: from, To: h.Number, Count: n, Cause: "disk-full", RootAfter: bytes.Clone(h.Root[:])}})
	}
}

// sign signs a checkpoint over all that there is, with a cosignature if asked to.
func (m *made) sign(t testing.TB, witnessed bool) []byte {
	t.Helper()
	e := m.epoch()
	note := noteOf(t, m.gateway, e, len(e.blocks), seeded(deviceKey), m.wall)
	if witnessed {
		note = cosign(t, note, seeded(receiverKey), m.wall)
	}
	e.notes[uint64(len(e.blocks))], e.newest = note, note
	return note
}

func noteOf(t testing.TB, gateway string, e *madeEpoch, size int, key ed25519.PrivateKey, wall int64) []byte {
	t.Helper()
	root, err := merkle.Tree{}.Root(int64(size), e.at)
	if err != nil {
		t.Fatal(err)
	}
	c := &evidence.Checkpoint{Gateway: gateway, Epoch: e.id, Size: uint64(size), Root: root, At: tag.Stamp{Wall: wall, Mono: wall}, Trusted: true}
	note, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func cosign(t testing.TB, note []byte, key ed25519.PrivateKey, wall int64) []byte {
	t.Helper()
	note, err := evidence.Cosign(note, "province", key, wall)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// certificate is that of the tests' receiver.
func certificate(authority ed25519.PrivateKey) Key {
	c := &wire.Certificate{Key: pub(seeded(receiverKey)), Name: "province", NotBefore: 1, NotAfter: 1 << 62, Number: 1}
	return Key{Role: "receiver", Name: "province", Key: c.Key, Certificate: evidence.SignCertificate(c, authority)}
}

// sample is a journal of three epochs with all that the format can say; the
// first has about n blocks, at least 90.
func sample(t testing.TB, n int) *made {
	t.Helper()
	m := &made{gateway: "GW/1 冷库", wall: 1_700_000_000 * second}
	m.begin(t)
	for i := range n {
		m.readings(t, 1+i%7)
		if i%10 == 0 {
			m.events(t, wire.Event{Kind: 1, Note: "alarm"}, wire.Event{Kind: 2})
		}
		if i == 60 {
			m.lose(t, 12, true)
		}
		if i == n/3 || i == n*4/5 {
			m.sign(t, true)
		}
	}
	m.sign(t, true)
	m.begin(t)
	for i := range 30 {
		m.readings(t, 4)
		if i == 20 {
			m.sign(t, true)
		}
	}
	m.sign(t, false)
	m.begin(t)
	for range 6 {
		m.readings(t, 3)
	}
	m.sign(t, true)
	m.readings(t, 2)
	m.sign(t, false)
	return m
}

// write writes the whole of it.
func (m *made) write(t testing.TB, keys ...Key) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, Claim{Gateway: m.gateway, Made: m.wall, Maker: "test"}, keys)
	for _, e := range m.epochs {
		w.Epoch(e.id)
		for i := range e.blocks {
			k := &e.blocks[i]
			if err := w.Block(k, &e.stored[merkle.Stored(int64(k.Leaf))]); err != nil {
				t.Fatal(err)
			}
			if note := e.notes[k.Leaf+1]; note != nil {
				if err := w.Note(note); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.EndEpoch(e.ranges())
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (e *madeEpoch) ranges() (out []Range) {
	for _, name := range []string{wire.EventStream, wire.ReadingStream, wire.HealthStream} {
		if h := e.heads[name]; h != nil && h.Number > 0 {
			out = append(out, Range{name, 1, h.Number})
		}
	}
	return out
}

func leafData(k *wire.Block) []byte {
	return wire.LeafData(k.RootBefore, k.Stream, k.First, k.Count, sha256Sum(k.Body))
}

// part is one frame of a file that an attacker has taken to pieces.
type part struct {
	kind    byte
	payload []byte
}

func split(t testing.TB, file []byte) (out []part) {
	t.Helper()
	in, err := newFrames(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for in.at < int64(len(file)) {
		f, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, part{f.kind, bytes.Clone(f.payload)})
	}
	return out
}

// glue puts the pieces together again with good checksums and totals: an
// attacker knows the format.
func glue(t testing.TB, parts []part) []byte {
	t.Helper()
	out := []byte(magic)
	frames := map[string]int64{}
	var counts []EndEpoch
	for _, p := range parts {
		switch p.kind {
		case epochFrame:
			counts = append(counts, EndEpoch{Epoch: hexID(wire.Epoch(p.payload))})
		case blockFrame:
			c := &counts[len(counts)-1]
			c.Blocks++
			c.Leaves = max(c.Leaves, int64(binary.BigEndian.Uint64(p.payload))+1)
		case subtreeFrame:
			s, err := decodeSubtree(p.payload)
			if err != nil {
				t.Fatal(err)
			}
			c := &counts[len(counts)-1]
			c.Leaves = max(c.Leaves, s.to())
		case noteFrame:
			counts[len(counts)-1].Notes++
		case endFrame:
			var end End
			if err := json.Unmarshal(p.payload, &end); err != nil {
				t.Fatal(err)
			}
			end.Bytes, end.Frames = int64(len(out)), frames
			for i := range end.Epochs {
				for _, c := range counts {
					if c.Epoch == end.Epochs[i].Epoch {
						c.Streams = end.Epochs[i].Streams
						end.Epochs[i] = c
					}
				}
			}
			var err error
			if p.payload, err = json.Marshal(end); err != nil {
				t.Fatal(err)
			}
		}
		frames[string(rune(p.kind))]++
		var head [headSize]byte
		head[0] = p.kind
		binary.BigEndian.PutUint32(head[1:], uint32(len(p.payload)))
		binary.BigEndian.PutUint32(head[5:], crc32.Checksum(p.payload, castagnoli))
		binary.BigEndian.PutUint32(head[9:], crc32.Checksum(head[:9], castagnoli))
		out = append(append(out, head[:]...), p.payload...)
	}
	return out
}
