package worker

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// chunk makes a chunk of a server.
func chunk(kind string, body ...byte) []byte {
	b := append([]byte(kind), 0, 0, 0, 0)
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

func text(s string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func words32(n ...uint32) (b []byte) {
	for _, x := range n {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func TestGateLooks(t *testing.T) {
	server, other := selfSigned(t, rsaKey(t, 0), nil), selfSigned(t, rsaKey(t, 1), nil)
	own := []byte("our certificate")
	sum := sha1.Sum(own)
	basic, _ := policyOf("Basic256Sha256")
	none, _ := policyOf("None")
	secure := expect{policy: basic, encrypt: true, server: server, own: own, ownKeyLen: 256}
	open := expect{policy: none}
	const null = 0xffffffff
	f := func(name string, want expect, greeted bool, b []byte, pass bool, why string) {
		t.Helper()
		g := &gate{want: want}
		n, err := g.look(&gateState{greeted: greeted}, b)
		switch {
		case pass && (err != nil || n != len(b)):
			t.Errorf("%s: %d of %d, %v", name, n, len(b), err)
		case !pass && (err == nil || !strings.Contains(err.Error(), why)):
			t.Errorf("%s: %d, %v, want an error with %q", name, n, err, why)
		}
	}
	opn := func(policy string, cert, thumb []byte, encrypted int) []byte {
		return chunk("OPNF", cat(words32(7), text(policy), text(string(cert)), text(string(thumb)), make([]byte, encrypted))...)
	}
	ack := chunk("ACKF", words32(0, 8192, 9000, 0, 0)...)
	f("acknowledge", secure, false, ack, true, "")
	if got := binary.LittleEndian.Uint32(ack[12:]); got != maxChunk {
		t.Errorf("the library would take buffers of %d", got)
	}
	if got := binary.LittleEndian.Uint32(ack[16:]); got != 8192 {
		t.Errorf("the library would send %d bytes to a server that takes 8192", got)
	}
	f("tiny buffers", secure, false, chunk("ACKF", words32(0, 10, 10, 0, 0)...), false, "8192")
	f("not OPC UA", secure, false, []byte("HTTP\x40\x00\x00\x00/1.1 400 Bad Request                                             "), false, "not an OPC UA server")
	f("acknowledge twice", secure, true, chunk("ACKF", words32(0, 8192, 9000, 0, 0)...), false, "hostile")
	f("error", secure, true, chunk("ERRF", cat(words32(0x80100000), text("no room"))...), false, "no room")
	f("error with a hostile length", secure, true, chunk("ERRF", words32(0x80100000, 0x80000001)...), false, "the server closed the connection")
	f("too long", secure, true, append([]byte("MSGF"), words32(0x10000)...), false, "65536 bytes")
	f("hostile length", secure, true, append([]byte("MSGF"), words32(0x80000001)...), false, "hostile")
	f("too short", secure, true, append([]byte("MSGF"), words32(7)...), false, "hostile")
	f("unknown", secure, true, chunk("XXXF", make([]byte, 40)...), false, "hostile")

	f("opened", secure, true, opn(basic.URI, server, sum[:], 512), true, "")
	f("opened by another", secure, true, opn(basic.URI, other, sum[:], 512), false, "not the one that the server announced")
	f("opened without security", secure, true, opn(none.URI, nil, nil, 512), false, "instead of Basic256Sha256")
	f("opened with less", secure, true, opn("http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15", server, sum[:], 512), false, "instead of")
	f("opened for another", secure, true, opn(basic.URI, server, make([]byte, 20), 512), false, "another client")
	f("opened with half a block", secure, true, opn(basic.URI, server, sum[:], 300), false, "hostile")
	f("opened, nothing in it", secure, true, opn(basic.URI, server, sum[:], 0), false, "hostile")
	f("opened, hostile policy", secure, true, chunk("OPNF", words32(7, 0x80000001, 0, 0)...), false, "broken header")
	f("opened, hostile certificate", secure, true, chunk("OPNF", cat(words32(7), text(basic.URI), words32(0xfffffffe, 0))...), false, "broken header")
	f("opened, hostile thumbprint", secure, true, chunk("OPNF", cat(words32(7), text(basic.URI), text(string(server)), words32(0x90000000))...), false, "broken header")
	f("opened in parts", secure, true, chunk("OPNC", make([]byte, 60)...), false, "hostile")
	f("open, none", open, true, chunk("OPNF", cat(words32(7), text(none.URI), words32(null, null), make([]byte, 60))...), true, "")
	f("open, other policy", open, true, opn(basic.URI, server, sum[:], 512), false, "instead of None")

	f("message", secure, true, chunk("MSGF", make([]byte, 8+48)...), true, "")
	f("message without room for its signature", secure, true, chunk("MSGF", make([]byte, 8+32)...), false, "hostile")
	f("message that is no block", secure, true, chunk("MSGF", make([]byte, 8+50)...), false, "hostile")
	f("plain message", open, true, chunk("MSGF", make([]byte, 8+8)...), true, "")
	f("plain message, empty", open, true, chunk("MSGF", make([]byte, 8)...), false, "hostile")
	f("closed", open, true, chunk("CLOF", make([]byte, 8)...), false, "closed the secure channel")

	if n, err := (&gate{want: open}).look(&gateState{greeted: true}, chunk("MSGF", make([]byte, 60)...)[:20]); n != 0 || err != nil {
		t.Errorf("a chunk that is not whole: %d, %v", n, err)
	}
	// A message without an end is bounded.
	state := gateState{greeted: true}
	g := &gate{want: open}
	var err error
	for range maxPartial/60000 + 2 {
		if _, err = g.look(&state, chunk("MSGC", make([]byte, 60000)...)); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("a message without an end passes")
	}
	var u *untrusted
	if _, err := (&gate{want: secure}).look(&gateState{greeted: true}, opn(basic.URI, other, sum[:], 512)); !errors.As(err, &u) || string(u.DER) != string(other) {
		t.Errorf("the stranger's certificate is not kept: %v", err)
	}
}

func FuzzGate(f *testing.F) {
	f.Add(chunk("ACKF", words32(0, 8192, 9000, 0, 0)...), false)
	f.Add(chunk("OPNF", cat(words32(7), text("x"), words32(0xffffffff, 0xffffffff), make([]byte, 60))...), true)
	f.Add(chunk("ERRF", words32(0x80100000, 0x80000001)...), true)
	f.Add(append([]byte("MSGF"), words32(0x80000001)...), true)
	basic, _ := policyOf("Basic256Sha256")
	f.Fuzz(func(t *testing.T, b []byte, greeted bool) {
		for _, want := range []expect{{policy: basic, encrypt: true, server: []byte{1}, own: []byte{2}, ownKeyLen: 256}, {}} {
			g := &gate{want: want}
			if n, err := g.look(&gateState{greeted: greeted}, append([]byte{}, b...)); err == nil && (n < 0 || n > len(b) || n > maxChunk) {
				t.Fatalf("%d of %d bytes", n, len(b))
			}
		}
	})
}

// Keys that are given again at once would be asked for without end.
func TestKeysAreNotGivenWithoutAPause(t *testing.T) {
	none, _ := policyOf("None")
	null := uint32(0xffffffff)
	opn := chunk("OPNF", cat(words32(7), text(none.URI), words32(null, null), make([]byte, 60))...)
	var keys atomic.Uint64
	g, state := &gate{want: expect{policy: none}, opened: &keys}, gateState{greeted: true}
	if _, err := g.look(&state, opn); err != nil {
		t.Fatal(err)
	}
	if _, err := g.look(&state, opn); err == nil || !strings.Contains(err.Error(), "new keys within") {
		t.Errorf("%v", err)
	}
	state.keyed = time.Now().Add(-renewMost)
	if _, err := g.look(&state, opn); err != nil || keys.Load() != 2 {
		t.Errorf("%v, %d keys", err, keys.Load())
	}
}
