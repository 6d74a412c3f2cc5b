package latch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// run runs a store until the test ends or stop is called.
func run(t testing.TB, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// until waits for a state.
func until(t testing.TB, s *Store, what string, ok func(State) bool) State {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		if st := s.State(); ok(st) {
			return st
		}
		select {
		case <-s.Changed():
		case <-limit.C:
			t.Fatalf("never %s: %+v", what, s.State())
		}
	}
}

func durable(gen uint64) func(State) bool {
	return func(s State) bool { return s.Durable >= gen }
}

func TestSaveAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latch")
	if _, _, err := Open(path); !errors.Is(err, ErrMissing) {
		t.Fatalf("no file: %v", err)
	}
	if err := Create(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a second Create: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left beside: %v", left)
	}
	for i, want := range []string{"first", "a", "b", "", "c"} {
		s, got, err := Open(path)
		if err != nil || i > 0 && string(got) != want || s.Torn() {
			t.Fatalf("%d: %q, want %q, torn %v, %v", i, got, want, s.Torn(), err)
		}
		if st, _ := os.Stat(path); st.Size() != FileBytes {
			t.Fatalf("file of %d bytes", st.Size())
		}
		next := append([]string{"a", "b", "", "c"}, "end")[i]
		stop := run(t, s)
		until(t, s, "durable", durable(s.Save([]byte(next))))
		stop()
	}
}

// What is asked for when Run is told to end is written first.
func TestLastSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latch")
	s, _, _ := Open(path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Save([]byte("old"))
	gen := s.Save([]byte("last words"))
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if st := s.State(); st.Durable != gen {
		t.Errorf("%+v", st)
	}
	if _, got, err := Open(path); err != nil || string(got) != "last words" {
		t.Errorf("%q, %v", got, err)
	}
}

// image is a file with two slots; n is the newer one's sequence.
func image(t testing.TB, older, newer string) []byte {
	b := make([]byte, FileBytes)
	for i, p := range []string{older, newer} {
		slot, err := encode(nil, uint64(7+i), []byte(p))
		if err != nil {
			t.Fatal(err)
		}
		copy(b[i*SlotBytes:], slot)
	}
	return b
}

func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  string // payload
		err   error
		torn  bool
	}{
		{"whole", func(b []byte) []byte { return b }, "newer", nil, false},
		{"newer torn in its payload", func(b []byte) []byte { b[SlotBytes+headLen+2] ^= 1; return b }, "older", nil, true},
		{"newer torn in its head", func(b []byte) []byte { b[SlotBytes+17] ^= 1; return b }, "older", nil, true},
		{"newer of zeros behind its head", func(b []byte) []byte { clear(b[SlotBytes+headLen:]); return b }, "older", nil, true},
		{"older rotten", func(b []byte) []byte { b[headLen] ^= 0x80; return b }, "newer", nil, true},
		{"only one written", func(b []byte) []byte { clear(b[SlotBytes:]); return b }, "older", nil, false},
		{"length beyond the slot", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[SlotBytes+12:], MaxPayload+1); return b }, "older", nil, true},
		{"length of 4 GB", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[SlotBytes+12:], 1<<32-1); return b }, "older", nil, true},
		{"cut in the second slot", func(b []byte) []byte { return b[:SlotBytes+20] }, "older", ErrDamaged, true},
		{"cut behind the second payload", func(b []byte) []byte { return b[:SlotBytes+100] }, "newer", ErrDamaged, false},
		{"cut in the first slot", func(b []byte) []byte { return b[:SlotBytes/2] }, "older", ErrDamaged, false},
		{"empty", func([]byte) []byte { return nil }, "", ErrDamaged, false},
		{"zeros", func(b []byte) []byte { clear(b); return b }, "", ErrDamaged, false},
		{"both rotten", func(b []byte) []byte { b[20] ^= 1; b[SlotBytes+20] ^= 1; return b }, "", ErrDamaged, false},
		{"another version", func(b []byte) []byte {
			for _, at := range []int{0, SlotBytes} {
				slot := b[at : at+headLen+5]
				slot[8] = 9
				binary.LittleEndian.PutUint32(slot[24:], sum(slot))
			}
			return b
		}, "", ErrDamaged, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "latch")
			b := c.spoil(image(t, "older", "newer"))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s, got, err := Open(path)
			if string(got) != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("got %q, %v", got, err)
			}
			if c.err == nil && s.Torn() != c.torn {
				t.Errorf("torn %v", s.Torn())
			}
			if (got == nil) != (c.want == "") {
				t.Errorf("payload %v", got)
			}
			// Whatever it was: the next snapshot holds, and damage is kept to be looked at.
			stop := run(t, s)
			until(t, s, "durable", durable(s.Save([]byte("next"))))
			stop()
			if _, got, err := Open(path); err != nil || string(got) != "next" {
				t.Errorf("after a save: %q, %v", got, err)
			}
			kept, err := os.ReadFile(path + ".damaged")
			if (c.err != nil) != (err == nil) || err == nil && !bytes.Equal(kept, b) {
				t.Errorf("kept: %d bytes, %v", len(kept), err)
			}
		})
	}
}

// However many bytes of a write reach the disk, and in whatever order its
// pages do, Open returns the snapshot before or the one that was written.
func TestTornWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latch")
	rapid.Check(t, func(t *rapid.T) {
		before := strings.Repeat("b", rapid.IntRange(1, 20000).Draw(t, "before"))
		after := strings.Repeat("a", rapid.IntRange(1, 20000).Draw(t, "after"))
		_ = os.Remove(path)
		if err := Create(path, []byte("0")); err != nil {
			t.Fatal(err)
		}
		// A writer that loses 512-byte sectors, and says that it failed.
		lossy := func(f *os.File, b []byte, at int64) error {
			for i := 0; i < len(b); i += 512 {
				if rapid.Bool().Draw(t, "reached") {
					if _, err := f.WriteAt(b[i:min(i+512, len(b))], at+int64(i)); err != nil {
						return err
					}
				}
			}
			return unix.EIO
		}
		s, _, err := Open(path)
		if err == nil {
			err = s.put([]byte(before))
		}
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "failures") { // each into the same slot
			s.writes = lossy
			if err := s.put([]byte(after)); !errors.Is(err, unix.EIO) {
				t.Fatal(err)
			}
		}
		again, got, err := Open(path)
		if err != nil || string(got) != before && string(got) != after {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err := again.put([]byte("next")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := Open(path); err != nil || string(got) != "next" {
			t.Fatalf("then %q, %v", got, err)
		}
	})
}

// A disk that takes 2 s for each operation, or hangs, holds up no Save; the
// newest snapshot is the one that gets there.
func TestSlowDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latch")
	if err := Create(path, nil); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, _, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		writes := 0
		s.writes = func(f *os.File, b []byte, at int64) error {
			writes++
			time.Sleep(2 * time.Second)
			return write(f, b, at)
		}
		stop := run(t, s)
		begin := time.Now()
		var gen uint64
		for range 100 {
			gen = s.Save([]byte{byte(gen)})
		}
		synctest.Wait()
		if st := s.State(); st.Since != begin || st.Durable != 0 || st.Asked != gen {
			t.Errorf("in the write: %+v", st)
		}
		for range 30 {
			gen = s.Save([]byte{byte(gen)})
			time.Sleep(100 * time.Millisecond)
		}
		if time.Since(begin) != 3*time.Second {
			t.Errorf("30 saves took %v", time.Since(begin))
		}
		until(t, s, "durable", durable(gen))
		if took := time.Since(begin); took != 6*time.Second || writes != 3 {
			t.Errorf("durable after %v and %d writes", took, writes)
		}
		stop()
		if _, got, err := Open(path); err != nil || got[0] != byte(gen-1) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A write that fails is tried again with the newest snapshot, into the same
// slot; State says how it is meanwhile.
func TestFailingDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latch")
	if err := Create(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, _, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var at []int64 // Run's until it has ended
		var broken atomic.Bool
		broken.Store(true)
		s.writes = func(f *os.File, b []byte, off int64) error {
			at = append(at, off)
			if broken.Load() {
				return unix.EIO
			}
			return write(f, b, off)
		}
		stop := run(t, s)
		one := s.Save([]byte("one"))
		synctest.Wait()
		if st := s.State(); st.Tried != one || st.Durable != 0 || !errors.Is(st.Err, unix.EIO) || !strings.Contains(st.Err.Error(), path) {
			t.Errorf("%+v", st)
		}
		two := s.Save([]byte("two"))
		time.Sleep(3*Retry - time.Millisecond)
		broken.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if st := s.State(); st.Durable != two || st.Err != nil {
			t.Errorf("%+v", st)
		}
		long := s.Save(make([]byte, MaxPayload+1))
		synctest.Wait()
		if st := s.State(); st.Tried != long || !errors.Is(st.Err, ErrTooLong) || st.Durable != two {
			t.Errorf("too long: %+v", st)
		}
		ok := s.Save(make([]byte, MaxPayload))
		time.Sleep(2 * Retry)
		synctest.Wait()
		if st := s.State(); st.Durable != ok || st.Err != nil {
			t.Errorf("as long as allowed: %+v", st)
		}
		stop()
		for i, off := range at {
			if off != SlotBytes && i < 4 {
				t.Errorf("writes at %v", at)
			}
		}
		if len(at) != 5 {
			t.Errorf("%d tries", len(at))
		}
	})
}

// A file system that became read-only or full is seen, and what is there is kept.
func TestNoPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone", "later")
	path := filepath.Join(dir, "latch")
	s, _, err := Open(path)
	if !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	run(t, s)
	gen := s.Save([]byte("x"))
	until(t, s, "an error", func(s State) bool { return errors.Is(s.Err, fs.ErrNotExist) })
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	until(t, s, "durable", durable(gen))
}

func TestSaveAllocates(t *testing.T) {
	s, _, _ := Open(filepath.Join(t.TempDir(), "latch"))
	b := make([]byte, 20000)
	if n := testing.AllocsPerRun(100, func() { s.Save(b) }); n != 0 {
		t.Errorf("%v allocations per Save", n)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	one, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "another davy runs here: process ") {
		t.Errorf("locked twice: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	two, err := Lock(dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_ = two.Close()
	if _, err := Lock(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	slot, _ := encode(nil, 3, []byte("payload"))
	f.Add(slot, []byte{})
	f.Add([]byte("DAVYLTC\n\x01\x00\x00\x00\xff\xff\xff\xff"), slot)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, a, b []byte) {
		path := filepath.Join(dir, "latch")
		file := make([]byte, FileBytes)
		copy(file[:SlotBytes], a)
		copy(file[SlotBytes:], b)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, got, err := Open(path)
		if (err == nil) != (got != nil) {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

// BenchmarkSave measures pwrite and fdatasync of 4 kB on the disk of TMPDIR.
func BenchmarkSave(b *testing.B) {
	s, _, _ := Open(filepath.Join(b.TempDir(), "latch"))
	run(b, s)
	payload := make([]byte, 4000)
	for range b.N {
		gen := s.Save(payload)
		for s.State().Durable < gen {
			<-s.Changed()
		}
	}
}
