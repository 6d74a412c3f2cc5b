package wirepb

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"davy/agent/wire"
	"davy/drivers/tag"
)

// The hand-written codec is held against protoc's both ways: what it writes,
// protoc's code reads and writes again byte for byte; and what it reads of
// that is what was written.

var (
	texts  = rapid.StringMatching(`[ -~氨气泄漏压缩机]{0,20}`)
	names  = rapid.SampledFrom([]string{wire.EventStream, wire.ReadingStream, wire.HealthStream})
	chunks = rapid.SliceOfN(rapid.Byte(), 0, 200)
)

func root(t *rapid.T) (r wire.Root) {
	copy(r[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "root"))
	return r
}

func heads(t *rapid.T) (out []wire.Head) {
	for range rapid.IntRange(0, 3).Draw(t, "heads") {
		out = append(out, wire.Head{Stream: names.Draw(t, "stream"), Number: rapid.Uint64().Draw(t, "number"), Root: root(t)})
	}
	return out
}

func stamp(t *rapid.T) tag.Stamp {
	return tag.Stamp{Wall: rapid.Int64().Draw(t, "wall"), Mono: rapid.Int64().Draw(t, "mono")}
}

func value(t *rapid.T) tag.Value {
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 1:
		return tag.BoolValue(rapid.Bool().Draw(t, "bool"))
	case 2:
		return tag.IntValue(rapid.Int64().Draw(t, "int"))
	case 3:
		v, _ := tag.Float32Value(rapid.Float32().Draw(t, "f32"))
		return v
	case 4:
		v, _ := tag.Float64Value(rapid.Float64().Draw(t, "f64"))
		return v
	case 5:
		return tag.EnumValue(rapid.Int64().Draw(t, "enum"))
	case 6:
		return tag.TextValue(rapid.Uint32().Draw(t, "text"))
	}
	return tag.Value{}
}

func quality(t *rapid.T) tag.Quality {
	r := tag.Reason(rapid.IntRange(0, int(tag.LocalOverride)).Draw(t, "reason"))
	return tag.MakeQuality(r.Status(), r, tag.Quality(rapid.IntRange(0, 31).Draw(t, "flags")))
}

func raw(t *rapid.T, what string) []byte {
	if b := chunks.Draw(t, what); len(b) > 0 {
		return b
	}
	return nil
}

func codes(t *rapid.T) (out []wire.Name) {
	for range rapid.IntRange(0, 3).Draw(t, "names") {
		out = append(out, wire.Name{Code: rapid.Int64().Draw(t, "code"), Text: texts.Draw(t, "text")})
	}
	return out
}

func event(t *rapid.T) wire.Event {
	e := wire.Event{
		Kind: rapid.Uint32().Draw(t, "kind"), At: stamp(t), Rule: texts.Draw(t, "rule"), Occurrence: rapid.Uint64().Draw(t, "occurrence"),
		Priority: rapid.Uint32().Draw(t, "priority"), Tag: tag.ID(rapid.Uint32().Draw(t, "tag")), Value: value(t), Quality: quality(t),
		Limit: rapid.Float64().Draw(t, "limit"), FirstOut: texts.Draw(t, "first"), Output: texts.Draw(t, "output"), Who: texts.Draw(t, "who"),
		Proved: rapid.Bool().Draw(t, "proved"), Note: texts.Draw(t, "note"), Serial: rapid.Uint64().Draw(t, "serial"),
		Hidden: rapid.Uint32().Draw(t, "hidden"), Test: rapid.Bool().Draw(t, "test"), First: rapid.Bool().Draw(t, "of-group"),
		Channel: texts.Draw(t, "of"), Second: texts.Draw(t, "second"), For: rapid.Int64().Draw(t, "for"), Result: rapid.Uint32().Draw(t, "result"),
		Samples: rapid.Uint32().Draw(t, "samples"), Old: texts.Draw(t, "old"), New: texts.Draw(t, "new"),
	}
	for range rapid.IntRange(0, 5).Draw(t, "record") {
		e.Record = append(e.Record, tag.Reading{Tag: tag.ID(rapid.Uint32Range(0, 3).Draw(t, "id")), Quality: quality(t), Value: value(t), Received: stamp(t)})
	}
	for range rapid.IntRange(0, 3).Draw(t, "votes") {
		e.Votes = append(e.Votes, wire.Vote{
			Channel: texts.Draw(t, "channel"), Reason: rapid.Uint32().Draw(t, "why"), Since: stamp(t), Quality: quality(t), Value: value(t),
			Last: rapid.Bool().Draw(t, "last"),
		})
	}
	if rapid.Bool().Draw(t, "clock") {
		e.Clock = &wire.Clock{
			Boot: texts.Draw(t, "boot"), Trusted: rapid.Bool().Draw(t, "trusted"), Error: rapid.Uint64().Draw(t, "error"),
			Source: texts.Draw(t, "source"), Offset: rapid.Int64().Draw(t, "offset"),
		}
	}
	if rapid.Bool().Draw(t, "beacon") {
		e.Beacon = &wire.Beacon{
			From: stamp(t), To: stamp(t), Tags: rapid.Uint32().Draw(t, "watched"), Good: rapid.Uint32().Draw(t, "good"), Worst: rapid.Uint32().Draw(t, "worst"),
			Turns: rapid.Uint64().Draw(t, "turns"), Events: rapid.Uint64().Draw(t, "events"), Longest: rapid.Int64().Draw(t, "longest"),
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "carries") {
	case 1:
		e.Start = &wire.Start{
			Parent: raw(t, "parent"), ParentHeads: heads(t), Version: texts.Draw(t, "version"), Boot: texts.Draw(t, "boot"),
			Unwatched: rapid.Int64().Draw(t, "unwatched"), Clean: rapid.Bool().Draw(t, "clean"),
			MayHaveLost: rapid.Uint64().Draw(t, "lost"), Plan: raw(t, "plan"), ParentCheckpoint: raw(t, "checkpoint"),
		}
	case 2:
		e.Gap = &wire.Gap{
			Stream: names.Draw(t, "stream"), Epoch: raw(t, "epoch"), From: rapid.Uint64().Draw(t, "from"), To: rapid.Uint64().Draw(t, "to"),
			Count: rapid.Uint64().Draw(t, "count"), WallFrom: rapid.Int64().Draw(t, "wf"), WallTo: rapid.Int64().Draw(t, "wt"),
			Cause: texts.Draw(t, "cause"), RootAfter: raw(t, "root"),
		}
	case 3:
		e.Table = &wire.Table{Plan: raw(t, "plan")}
		for range rapid.IntRange(0, 2).Draw(t, "people") {
			e.Table.People = append(e.Table.People, wire.Person{ID: texts.Draw(t, "person"), Name: texts.Draw(t, "name")})
		}
		for range rapid.IntRange(0, 3).Draw(t, "tags") {
			e.Table.Tags = append(e.Table.Tags, wire.TableTag{
				ID: tag.ID(rapid.Uint32().Draw(t, "id")), Name: texts.Draw(t, "name"), Unit: texts.Draw(t, "unit"),
				Kind: tag.Kind(rapid.IntRange(0, 6).Draw(t, "tk")), Ranged: rapid.Bool().Draw(t, "ranged"), Low: rapid.Float64().Draw(t, "low"),
				High: rapid.Float64().Draw(t, "high"), TextZh: texts.Draw(t, "zh"), TextEn: texts.Draw(t, "en"), Names: codes(t),
			})
		}
	}
	return e
}

// again reads b with protoc's code and writes it again.
func again(t *rapid.T, b []byte, m proto.Message) []byte {
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("protoc's code does not read it: %v", err)
	}
	if u := m.ProtoReflect().GetUnknown(); len(u) > 0 {
		t.Fatalf("protoc's code does not know %x", u)
	}
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *rapid.T, ours, theirs []byte) {
	if !bytes.Equal(ours, theirs) {
		t.Fatalf("ours\n%x\nprotoc's\n%x", ours, theirs)
	}
}

func TestEnvelope(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &wire.Envelope{
			Version: rapid.Uint32().Draw(t, "version"), Gateway: texts.Draw(t, "gateway"), Heads: heads(t), Plan: raw(t, "plan"), Sent: stamp(t),
			Boot: texts.Draw(t, "boot"), ClockTrusted: rapid.Bool().Draw(t, "trusted"), ClockError: rapid.Uint64().Draw(t, "error"),
			OutputsArmed: rapid.Bool().Draw(t, "armed"), Checkpoint: raw(t, "checkpoint"),
		}
		if rapid.Bool().Draw(t, "proof") {
			in.Proof = &wire.Proof{Size: rapid.Uint64().Draw(t, "size")}
			for range rapid.IntRange(0, 5).Draw(t, "hashes") {
				in.Proof.Hashes = append(in.Proof.Hashes, root(t))
			}
		}
		copy(in.Epoch[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
		for range rapid.IntRange(0, 3).Draw(t, "blocks") {
			in.Blocks = append(in.Blocks, wire.Block{
				Stream: names.Draw(t, "stream"), First: rapid.Uint64Range(1, 1<<60).Draw(t, "first"),
				Count: rapid.Uint32Range(1, wire.MaxRecords).Draw(t, "count"), Body: raw(t, "body"), RootBefore: root(t),
				Leaf: rapid.Uint64().Draw(t, "leaf"),
			})
		}
		b := in.Encode(nil)
		same(t, b, again(t, b, &Envelope{}))
		out, err := wire.DecodeEnvelope(b)
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v\n%+v\n%+v", err, in, out)
		}
	})
}

func TestReceipt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &wire.Receipt{
			Version: 1, Gateway: texts.Draw(t, "gateway"), Destination: texts.Draw(t, "destination"), Store: texts.Draw(t, "store"), Upto: heads(t),
			Wall: rapid.Int64().Draw(t, "wall"), Witness: raw(t, "witness"), Log: texts.Draw(t, "log"), Certificate: raw(t, "certificate"),
		}
		copy(in.Epoch[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
		for range rapid.IntRange(0, 3).Draw(t, "refused") {
			in.Refused = append(in.Refused, wire.Refused{
				Stream: names.Draw(t, "stream"), From: rapid.Uint64().Draw(t, "from"), To: rapid.Uint64().Draw(t, "to"), Code: texts.Draw(t, "code"),
			})
		}
		b := in.Encode(nil)
		same(t, b, again(t, b, &Receipt{}))
		out, err := wire.DecodeReceipt(b)
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v\n%+v\n%+v", err, in, out)
		}
		s := wire.Signed{Body: b, Key: raw(t, "key"), Signature: raw(t, "signature")}
		b = s.Encode(nil)
		same(t, b, again(t, b, &Signed{}))
		if back, err := wire.DecodeSigned(b); err != nil || !reflect.DeepEqual(&s, back) {
			t.Fatalf("%v\n%+v\n%+v", err, s, back)
		}
	})
}

func TestResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &wire.Resume{
			Version: 1, Gateway: texts.Draw(t, "gateway"), Destination: texts.Draw(t, "destination"), Store: texts.Draw(t, "store"),
			Number: rapid.Uint64().Draw(t, "number"), Wall: rapid.Int64().Draw(t, "wall"), Certificate: raw(t, "certificate"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "have") {
			h := wire.Have{Upto: heads(t), Witness: raw(t, "witness")}
			copy(h.Epoch[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
			in.Have = append(in.Have, h)
		}
		b := in.Encode(nil)
		same(t, b, again(t, b, &Resume{}))
		out, err := wire.DecodeResume(b)
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v\n%+v\n%+v", err, in, out)
		}
	})
}

func TestCertificate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &wire.Certificate{
			Version: 1, Key: raw(t, "key"), Name: texts.Draw(t, "name"), NotBefore: rapid.Int64().Draw(t, "from"), NotAfter: rapid.Int64().Draw(t, "to"),
			Number: rapid.Uint64().Draw(t, "number"), Least: rapid.Uint64().Draw(t, "least"),
		}
		b := in.Encode(nil)
		same(t, b, again(t, b, &Certificate{}))
		out, err := wire.DecodeCertificate(b)
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v\n%+v\n%+v", err, in, out)
		}
	})
}

func unpack(t *rapid.T, body []byte) []byte {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := d.DecodeAll(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.Custom(event), 1, 4).Draw(t, "events")
		body := wire.EncodeEvents(in)
		b := unpack(t, body)
		same(t, b, again(t, b, &EventBody{}))
		out, err := wire.DecodeEvents(body)
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v\n%+v\n%+v", err, in, out)
		}
	})
}
