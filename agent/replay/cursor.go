package replay

import (
	"errors"
	"io"

	"davy/agent/ring"
	"davy/agent/wire"
	"davy/drivers/tag"
	"davy/rules"
)

// before reports whether an event comes before a reading. At one instant it does,
// for what it made of a reading was recorded then; but the end of a run.
func before(e *wire.Event, x *tag.Reading) bool {
	return e.At.Mono < x.Received.Mono || e.At.Mono == x.Received.Mono && rules.Kind(e.Kind) != ring.AgentStopped
}

// lookBlocks is how far ahead a start is looked for; behind more it is none.
const lookBlocks = 64

// cursor reads blocks one record at a time.
type cursor[T any] struct {
	from  Blocks[T]
	block Block[T]
	queue []Block[T] // read ahead
	at    int
	next  uint64 // the number that should come; 0 any
	hole  func(missing uint64, wall int64)
	after int64
	wall  int64
}

// peek returns the next record, nil at the end.
func (c *cursor[T]) peek() (*T, error) {
	for c.at == len(c.block.Records) {
		var b Block[T]
		if len(c.queue) > 0 {
			b, c.queue = c.queue[0], c.queue[1:]
		} else {
			var err error
			if b, err = c.from.Next(c.after); errors.Is(err, io.EOF) {
				return nil, nil
			} else if err != nil {
				return nil, err
			}
		}
		if c.next != 0 && b.First > c.next {
			c.hole(b.First-c.next, c.wall)
		}
		c.block, c.at, c.next, c.wall = b, 0, b.First+uint64(len(b.Records)), b.To
	}
	return &c.block.Records[c.at], nil
}

// number is that of the record that peek returned.
func (c *cursor[T]) number() uint64 { return c.block.First + uint64(c.at) }

// ahead looks whether a record comes, without moving.
func (c *cursor[T]) ahead(is func(*T) bool) (bool, error) {
	for n := 0; ; n++ {
		var records []T
		switch {
		case n == 0:
			records = c.block.Records[c.at:]
		case n <= len(c.queue):
			records = c.queue[n-1].Records
		case n > lookBlocks:
			return false, nil
		default:
			b, err := c.from.Next(c.after)
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			c.queue = append(c.queue, b)
			records = b.Records
		}
		for i := range records {
			if is(&records[i]) {
				return true, nil
			}
		}
	}
}
