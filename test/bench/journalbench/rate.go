package journalbench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"davy/agent/journal"
	"davy/agent/wire"
	"davy/test/bench/figure"
	"davy/test/floor/appendfile"
)

const (
	perBatch    = 2    // seconds of the plant: 1,000 readings
	batches     = 200  // of one run
	drained     = 8000 // thousand readings
	fillSeconds = 20   // of one commit while they are recorded
)

// Durable prints how fast readings become durable, and reports whether the figure holds.
func Durable(w io.Writer) bool {
	c, err := rate()
	if err != nil {
		return figure.Failed(w, nameDurable, err)
	}
	return least(w, nameDurable, c, leastDurable)
}

func rate() (c figure.Comparison, err error) {
	dir, err := os.MkdirTemp("", "journalbench")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(dir)
	s, err := newSite(filepath.Join(dir, "journal"), false)
	if err != nil {
		return c, err
	}
	a, err := appendfile.Create(filepath.Join(dir, "append"))
	if err != nil {
		return c, errors.Join(err, s.close())
	}
	c, err = figure.Compare(s.appends(), func() (float64, error) {
		var took time.Duration
		var b []byte
		for range batches {
			readings := s.plant.next(perBatch)
			began := time.Now()
			b = b[:0]
			for i := range readings {
				b = wire.AppendReading(b, readings[i])
			}
			if err := a.Append(b, 1); err != nil {
				return 0, err
			}
			took += time.Since(began)
		}
		return took.Seconds(), nil
	})
	return c, errors.Join(err, a.Close(), s.close())
}

// appends returns a run of commits, each of 1,000 readings, and its seconds.
func (s *site) appends() func() (float64, error) {
	return func() (took float64, err error) {
		for range batches {
			s.mono += perBatch * int64(time.Second)
			b := journal.Batch{Readings: s.plant.next(perBatch)} // the plant's own time is not counted
			began := time.Now()
			if err := s.j.Append(b); err != nil {
				return 0, err
			}
			took += time.Since(began).Seconds()
		}
		return took, s.confirm(false)
	}
}

// Drain compares appends after an outage with those to a new journal, and reports whether the figure holds.
func Drain(w io.Writer) bool {
	c, what, err := afterDrain()
	if err != nil {
		return figure.Failed(w, nameDrain, err)
	}
	holds := true
	if c.Noisy {
		fmt.Fprintf(w, "BENCH %s noisy x %v\n", nameDrain, mostDrain)
	} else {
		holds = figure.Print(w, nameDrain, c.Median, "x", mostDrain)
	}
	fmt.Fprintf(w, "  %s: spread %.4g to %.4g, control %.4g, %d pairs, %d of at most %d tries; %s\n",
		nameDrain, c.Low, c.High, c.Control, c.Pairs, c.Tried, figure.Tries, what)
	return holds
}

func afterDrain() (c figure.Comparison, what string, err error) {
	dir, err := os.MkdirTemp("", "journalbench")
	if err != nil {
		return c, "", err
	}
	defer os.RemoveAll(dir)
	old, err := newSite(filepath.Join(dir, "old"), true)
	if err != nil {
		return c, "", err
	}
	fresh, err := newSite(filepath.Join(dir, "fresh"), true)
	if err != nil {
		return c, "", errors.Join(err, old.close())
	}
	defer func() { err = errors.Join(err, old.close(), fresh.close()) }()
	for range drained * 1000 / (fillSeconds * tags) {
		old.mono += fillSeconds * int64(time.Second)
		if err := old.j.Append(journal.Batch{Readings: old.plant.next(fillSeconds)}); err != nil {
			return c, "", err
		}
	}
	had := old.j.Stat()
	if err := old.drain(); err != nil {
		return c, "", err
	}
	what = fmt.Sprintf("%d records in %d bytes before it was drained, %d after", had.Records, had.Bytes, old.j.Stat().Bytes)
	c, err = figure.Compare(old.appends(), fresh.appends())
	return c, what, err
}

// drain reads all that waits, as an uplink does, confirms it, and lets go what may go.
func (s *site) drain() error {
	for _, stream := range []string{wire.EventStream, wire.ReadingStream} {
		var at journal.Pos
		for {
			items, err := s.c.Next(stream, at, 256<<10)
			if err != nil {
				return err
			}
			if len(items) == 0 {
				break
			}
			at = items[len(items)-1].After()
			if err := s.c.Advance(stream, at); err != nil {
				return err
			}
		}
	}
	s.mono += 2000 * int64(time.Hour) // beyond what is kept
	return errors.Join(s.confirm(true), s.j.Retain(true))
}
