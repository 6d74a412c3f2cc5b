// Package rawmodbus is a reference: a Modbus TCP client as a person would write
// it by hand for one device and one request, and no more. It patches the
// transaction id into a request that was built before, writes it, reads until
// the frame is whole, compares id, function and length, and turns the registers
// into numbers. It knows no time-out, no unit, no exception, no quality and no
// second connection, so it is what asking costs when nothing is promised.
// Figures of the driver are taken against it; change it only in a commit of its
// own, with the figures before and after.
//
// Imports: nothing of ours.
package rawmodbus

import (
	"encoding/binary"
	"errors"
	"net"
)

// Client is one connection.
type Client struct {
	conn    net.Conn
	id      uint16
	request [12]byte
	answer  [260]byte
	Words   []uint16
}

// Dial connects, to read count holding registers from 0 of unit 1.
func Dial(addr string, count int) (*Client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, Words: make([]uint16, count)}
	copy(c.request[:], []byte{0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, byte(count)})
	return c, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

var errAnswer = errors.New("not the answer")

// Read asks once.
func (c *Client) Read() error {
	c.id++
	binary.BigEndian.PutUint16(c.request[:], c.id)
	if _, err := c.conn.Write(c.request[:]); err != nil {
		return err
	}
	whole := 9 + 2*len(c.Words)
	for n := 0; n < whole; {
		got, err := c.conn.Read(c.answer[n:])
		if err != nil {
			return err
		}
		n += got
	}
	if binary.BigEndian.Uint16(c.answer[:]) != c.id || c.answer[7] != 3 || int(c.answer[8]) != 2*len(c.Words) {
		return errAnswer
	}
	for i := range c.Words {
		c.Words[i] = binary.BigEndian.Uint16(c.answer[9+2*i:])
	}
	return nil
}
