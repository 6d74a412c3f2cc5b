package rig

import (
	"context"
	"errors"

	"davy/cmd/davy-plant/relay"
)

// Line is a serial line between two device files, with the relay between them.
type Line struct {
	Master, Slave string // paths of the two ends

	stop context.CancelFunc
	done chan error
}

// NewLine makes a line of a speed, 8E1.
func NewLine(baud int) (*Line, error) { return NewFaultyLine(relay.Line{Baud: baud}) }

// NewFaultyLine makes any line.
func NewFaultyLine(r relay.Line) (*Line, error) {
	a, master, err := relay.Pty()
	if err != nil {
		return nil, err
	}
	b, slave, err := relay.Pty()
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Line{Master: master, Slave: slave, stop: cancel, done: make(chan error, 1)}
	go func() { l.done <- r.Run(ctx, a, b) }()
	return l, nil
}

// Close hangs both ends up.
func (l *Line) Close() error {
	l.stop()
	return <-l.done
}
