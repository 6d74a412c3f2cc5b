// Package logbook is the plant's own account of what happened to it: one JSON
// object a line, numbered from 1 without holes, in the order in which things
// happened.
//
// A line is on its way to the file (one write of O_APPEND, no buffer of ours)
// before the plant answers the request that caused it, so whoever has the
// answer finds the line. It is not synced to disk: it survives the end of any
// process, not a power cut. A line that could not be written ends the plant.
//
// Both clocks are those of agent/clock: mono is nanoseconds since boot and
// comparable with the stamps of every other process on the machine, wall is
// UTC. Read and the functions of read.go are for those who judge by it.
//
// Imports: drivers/tag.
package logbook

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"davy/drivers/tag"
)

// The events. What each carries beside its stamps is said here and nowhere else.
const (
	Start    = "start"    // Text: version of this format; Seed, Speed; first line of a run
	Value    = "value"    // Tag, Value: a watched quantity at the start
	Rose     = "rose"     // Tag, Level, Value: the register's value is now at or above Level and was below
	Fell     = "fell"     // Tag, Level, Value: the register's value is now below Level and was at or above
	Bit      = "bit"      // Tag, On: a discrete input or a coil changed; of a coil also By
	Word     = "word"     // Tag, Value: a detector's state word changed
	Write    = "write"    // Conn, Unit, Function, Address, Values, Done: a write was received (stamp: its last byte)
	Fault    = "fault"    // Name, On, Text: a scripted fault came or went; Name is "dead nh3-3"
	Do       = "do"       // Text, By: a command was carried out ("script" or "control")
	Mark     = "mark"     // Text
	Watchdog = "watchdog" // On: the I/O module's watchdog dropped the outputs / was served again
	Opened   = "opened"   // Conn, Text: remote address
	Closed   = "closed"   // Conn
	Slipped  = "slipped"  // Value: seconds that the plant's time was not carried on (the machine was asleep or overloaded)
	Stop     = "stop"     // last line of a run that ended in order
)

// Entry is one line.
type Entry struct {
	N        uint64   `json:"n"`
	Mono     int64    `json:"mono"` // ns since boot
	Wall     int64    `json:"wall"` // ns since 1970, UTC
	Event    string   `json:"event"`
	Tag      string   `json:"tag,omitempty"`
	Level    float64  `json:"level,omitempty"`
	Value    *float64 `json:"value,omitempty"`
	On       *bool    `json:"on,omitempty"`
	Conn     uint64   `json:"conn,omitempty"`
	Unit     int      `json:"unit,omitempty"`
	Function int      `json:"function,omitempty"`
	Address  *int     `json:"address,omitempty"` // on the wire, from 0
	Values   []int    `json:"values,omitempty"`  // coils as 0 and 1
	Done     *bool    `json:"done,omitempty"`    // false: not carried out, By says why
	By       string   `json:"by,omitempty"`
	Name     string   `json:"name,omitempty"`
	Text     string   `json:"text,omitempty"`
	Seed     uint64   `json:"seed,omitempty"`
	Speed    float64  `json:"speed,omitempty"`
}

// At stamps e.
func (e Entry) At(t tag.Stamp) Entry { e.Mono, e.Wall = t.Mono, t.Wall; return e }

// Book writes entries. The zero Book keeps nothing and is ready for use.
type Book struct {
	mu      sync.Mutex // of pending and n: never held over I/O
	n       uint64
	pending []Entry

	out  sync.Mutex // of the file: keeps lines in the order of their numbers
	file *os.File
}

// Create opens a log for appending; an empty path keeps nothing.
func Create(path string) (*Book, error) {
	if path == "" {
		return &Book{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return &Book{file: f}, nil
}

// Add notes an entry; it is written by the next Flush. Add does no I/O.
func (b *Book) Add(e Entry) {
	if b.file == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	e.N = b.n
	b.pending = append(b.pending, e)
}

// Flush writes what was added before it was called, a line a write.
func (b *Book) Flush() error {
	if b.file == nil {
		return nil
	}
	b.out.Lock()
	defer b.out.Unlock()
	b.mu.Lock()
	pending := b.pending
	b.pending = nil
	b.mu.Unlock()
	for _, e := range pending {
		line, err := json.Marshal(e)
		if err != nil {
			panic("BUG: logbook: " + err.Error()) // a NaN: the process makes none
		}
		if _, err := b.file.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write log: %w", err)
		}
	}
	return nil
}

// Close flushes and closes.
func (b *Book) Close() error {
	if b.file == nil {
		return nil
	}
	err := b.Flush()
	if e := b.file.Close(); err == nil {
		err = e
	}
	return err
}
