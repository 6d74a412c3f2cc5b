package modbus

import (
	"bytes"
	"testing"
)

// feed gives a stream to a framer in pieces as cut says, and returns the
// bodies that it finds.
func feed(f framer, stream, cut []byte, want expected, loose bool) (bodies [][]byte, b *inbox) {
	b = new(inbox)
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		fresh := i == 0
		if len(cut) > 0 {
			c := cut[i%len(cut)]
			n = min(n, 1+int(c&0x7f))
			fresh = fresh || c&0x80 != 0
		}
		n = min(n, len(b.space()))
		copy(b.space(), stream[:n])
		b.add(n, fresh)
		stream = stream[n:]
		for {
			body, ok := f.next(b, &want, loose)
			if !ok {
				break
			}
			bodies = append(bodies, bytes.Clone(body))
		}
	}
	return bodies, b
}

// checkFramer holds of any stream: no panic, every body is a frame that stood in
// the stream, and an answer behind any noise is found.
func checkFramer(t *testing.T, f framer, noise, cut, data []byte, loose bool, stands func(stream, body []byte) bool) {
	noise = noise[:min(len(noise), 4000)]
	data = data[:min(len(data), 250)&^1]
	answer := append([]byte{7, 3, byte(len(data))}, data...)
	want := expected{7, shape{function: 3, size: uint16(len(answer) - 1)}}
	stream := append(bytes.Clone(noise), f.encode(nil, answer)...)
	bodies, b := feed(f, stream, cut, want, loose)
	if b.r < 0 || b.r > b.w || b.w > len(b.buf) || b.start > b.w || b.start >= 0 && b.start < b.r {
		t.Fatalf("r %d w %d start %d", b.r, b.w, b.start)
	}
	found := false
	for _, body := range bodies {
		if !stands(stream, body) {
			t.Fatalf("% x was never received", body)
		}
		found = found || bytes.Equal(body, answer)
	}
	if !found {
		t.Fatalf("the answer % x behind % x was not found", answer, noise)
	}
	// Nobody waits: still no panic, and nothing that was not there.
	bodies, _ = feed(f, stream, cut, expected{}, loose)
	for _, body := range bodies {
		if !stands(stream, body) {
			t.Fatalf("% x was never received", body)
		}
	}
}

func FuzzRTUFrames(f *testing.F) {
	f.Add([]byte{}, []byte{}, []byte{0, 1, 0, 2}, false)
	f.Add([]byte{0, 0xff, 7, 3}, []byte{0, 1, 2}, []byte{1, 2}, false)
	f.Add([]byte{7, 3, 4, 7, 3}, []byte{0}, []byte{7, 3, 2, 0, 0, 1}, true)
	f.Add(rtu{}.encode(nil, []byte{9, 3, 0, 10, 0, 2}), []byte{0x83}, []byte{}, false)
	f.Add(bytes.Repeat([]byte{7, 3, 250}, 700), []byte{127}, make([]byte, 250), false)
	f.Fuzz(func(t *testing.T, noise, cut, data []byte, loose bool) {
		checkFramer(t, rtu{}, noise, cut, data, loose, func(stream, body []byte) bool {
			return bytes.Contains(stream, rtu{}.encode(nil, body))
		})
	})
}

func FuzzASCIIFrames(f *testing.F) {
	f.Add([]byte{}, []byte{}, []byte{0, 1, 0, 2}, false)
	f.Add([]byte(":07"), []byte{0, 1, 2}, []byte{1, 2}, false)
	f.Add([]byte("\r\n:0703:zz\r\n"), []byte{0}, []byte{7, 3, 2, 0, 0, 1}, true)
	f.Add(ascii{}.encode(nil, []byte{9, 3, 0, 10, 0, 2}), []byte{0x83}, []byte{}, false)
	f.Add(bytes.Repeat([]byte(":00"), 700), []byte{127}, make([]byte, 250), false)
	f.Fuzz(func(t *testing.T, noise, cut, data []byte, loose bool) {
		checkFramer(t, ascii{}, noise, cut, data, loose, func(stream, body []byte) bool {
			return bytes.Contains(bytes.ToUpper(stream), ascii{}.encode(nil, body))
		})
	})
}

// Frames as the specification and devices have them.
func TestLineFramesAreTheSpecifications(t *testing.T) {
	for _, c := range []struct {
		f    framer
		body string
		want string
	}{
		{rtu{}, "\x01\x03\x00\x00\x00\x0a", "\x01\x03\x00\x00\x00\x0a\xc5\xcd"},
		{rtu{}, "\x11\x03\x00\x6b\x00\x03", "\x11\x03\x00\x6b\x00\x03\x76\x87"},
		{ascii{}, "\x11\x03\x00\x6b\x00\x03", ":1103006B00037E\r\n"},
	} {
		if got := string(c.f.encode(nil, []byte(c.body))); got != c.want {
			t.Errorf("% x: % x, want % x", c.body, got, c.want)
		}
	}
}

// Garbled in any one bit, a frame is none; noise around it is none.
func TestLineFrameWithAWrongBitIsNone(t *testing.T) {
	body := []byte{7, 3, 4, 1, 2, 3, 4}
	want := expected{7, shape{function: 3, size: 6}}
	for _, f := range []framer{rtu{}, ascii{}} {
		frame := f.encode(nil, body)
		for i := range len(frame) * 8 {
			bad := bytes.Clone(frame)
			bad[i/8] ^= 1 << (i % 8)
			bodies, _ := feed(f, bad, nil, want, false)
			for _, got := range bodies {
				// A letter's case says nothing; any other bit does.
				if _, text := f.(ascii); !text || !bytes.Equal(got, body) || bad[i/8] != frame[i/8]^0x20 {
					t.Errorf("%T: bit %d wrong, and still % x", f, i, got)
				}
			}
		}
	}
}

// What the fuzzing found: registers that hold what looks like the head of
// another answer of this station, with a check sum that fits. They are data.
func TestLineFrameWithinAnAnswerIsData(t *testing.T) {
	for _, inner := range [][]byte{{7, 3, 2, 1, 2}, {7, 0x83, 2}, {9, 3, 0, 10, 0, 2}} {
		data := rtu{}.encode([]byte{0}, inner)
		data = append(data, make([]byte, 20-len(data))...)
		answer := append([]byte{7, 3, 20}, data...)
		for cut := range 30 {
			bodies, _ := feed(rtu{}, rtu{}.encode([]byte{0x30, 3, 0xfa}, answer)[cut%2*3:], []byte{byte(cut)}, expected{7, shape{function: 3, size: 22}}, false)
			if len(bodies) != 1 || !bytes.Equal(bodies[0], answer) {
				t.Errorf("in pieces of %d: % x", cut+1, bodies)
			}
		}
	}
}

// Two digits wrong in a way that keeps the text, not the sum.
func TestLineASCIISumIsChecked(t *testing.T) {
	frame := ascii{}.encode(nil, []byte{7, 3, 2, 0x12, 0x34})
	for i := 1; i < len(frame)-2; i++ {
		bad := bytes.Clone(frame)
		if bad[i] == '0' {
			bad[i] = '1'
		} else {
			bad[i] = '0'
		}
		if bodies, _ := feed(ascii{}, bad, nil, expected{7, shape{function: 3, size: 4}}, false); len(bodies) > 0 {
			t.Errorf("%q was taken for a frame", bad)
		}
	}
}
