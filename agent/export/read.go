package export

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// frame is one frame; its payload lives until the next call of next.
type frame struct {
	kind    byte
	payload []byte
	at      int64 // of its first byte in the file
}

// damage is a stretch of the file that holds no frame that can be read.
type damage struct {
	from, to int64 // bytes, to is the first that can be read again
	kind     byte  // of the frame, 0 if not even that is known
	cut      bool  // the file ends in it
}

func (d *damage) Error() string {
	if d.cut {
		return fmt.Sprintf("cut off in byte %d", d.to)
	}
	return fmt.Sprintf("bytes %d to %d are damaged", d.from, d.to-1)
}

// frames reads a file frame by frame. What cannot be read is a *damage; the
// next call goes on behind it.
type frames struct {
	in  *bufio.Reader
	at  int64
	buf []byte
}

func newFrames(r io.Reader) (*frames, error) {
	f := &frames{in: bufio.NewReaderSize(r, 64<<10)}
	b, err := f.in.Peek(len(magic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(b) != magic {
		return nil, ErrFormat
	}
	f.skip(len(magic))
	return f, nil
}

// skip goes over bytes that Peek has shown to be there.
func (f *frames) skip(n int) {
	f.in.Discard(n) // cannot fail: they are in the buffer
	f.at += int64(n)
}

// header returns the header at the place of the reader; ok is false where none stands.
func (f *frames) header() (kind byte, length int, sum uint32, ok bool, err error) {
	b, err := f.in.Peek(headSize)
	if len(b) < headSize {
		if errors.Is(err, io.EOF) && len(b) > 0 {
			return 0, 0, 0, false, io.ErrUnexpectedEOF
		}
		return 0, 0, 0, false, err
	}
	n := binary.BigEndian.Uint32(b[1:])
	if (b[0] < 'A' || b[0] > 'Z') && (b[0] < 'a' || b[0] > 'z') || n > maxFrame || crc32.Checksum(b[:9], castagnoli) != binary.BigEndian.Uint32(b[9:]) {
		return 0, 0, 0, false, nil
	}
	return b[0], int(n), binary.BigEndian.Uint32(b[5:]), true, nil
}

// next returns the next frame; io.EOF at the end of the file.
func (f *frames) next() (frame, error) {
	kind, length, sum, ok, err := f.header()
	if err == nil && !ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return frame{}, f.resync()
	}
	if err != nil {
		return frame{}, err
	}
	at := f.at
	f.skip(headSize)
	f.buf = f.buf[:0]
	// By pieces: a length that the file does not have takes no memory.
	for len(f.buf) < length {
		n := min(length-len(f.buf), 64<<10)
		f.buf = append(f.buf, make([]byte, n)...)
		got, err := io.ReadFull(f.in, f.buf[len(f.buf)-n:])
		f.at += int64(got)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return frame{}, &damage{from: at, to: f.at, kind: kind, cut: true}
		}
		if err != nil {
			return frame{}, err
		}
	}
	if crc32.Checksum(f.buf, castagnoli) != sum {
		return frame{}, &damage{from: at, to: f.at, kind: kind}
	}
	return frame{kind, f.buf, at}, nil
}

// resync looks for the next header.
func (f *frames) resync() error {
	d := &damage{from: f.at}
	for {
		_, _, _, ok, err := f.header()
		switch {
		case ok:
			d.to = f.at
			return d
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			f.skip(f.in.Buffered())
			d.to, d.cut = f.at, true
			return d
		case err != nil:
			return err
		}
		f.skip(1)
	}
}
