package modbus

import (
	"context"
	"fmt"
	"time"

	"davy/drivers"
)

// hungUp notes that the connection was closed.
func (m *mbap) hungUp() {
	m.conn = nil
	if m.idler != nil {
		m.mu.Lock()
		m.held = nil
		m.mu.Unlock()
		m.idler.Stop()
	}
}

// release closes a connection that nobody used for as long as the site allows:
// many devices have but one, and another master may want it.
func (m *mbap) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		return
	}
	rest := m.way.idle
	if !m.busy {
		rest -= time.Since(m.quiet)
	}
	if rest > 0 {
		m.idler.Reset(rest)
		return
	}
	m.held.Close() // nothing is under way that an error could concern
	m.held = nil
}

// released forgets a connection that release has closed, or that its unit has
// left behind for a newer one.
func (m *mbap) released() {
	if m.conn == nil {
		return
	}
	if m.idler != nil {
		m.mu.Lock()
		gone := m.held == nil
		m.mu.Unlock()
		if gone {
			m.conn = nil
			return
		}
	}
	if _, urgent := m.way.fresher(); urgent {
		m.conn.Close() // its unit is not there any more
		m.hungUp()
	}
}

// hold begins to watch whether a connection is idle.
func (m *mbap) hold(conn Port) {
	m.mu.Lock()
	m.held, m.quiet = conn, time.Now()
	m.mu.Unlock()
	if m.idler == nil {
		m.idler = time.AfterFunc(m.way.idle, m.release)
	} else {
		m.idler.Reset(m.way.idle)
	}
}

// rest waits until a device that wants a pause between requests has had it. A
// pause that the deadline does not leave room for is the caller's to wait for.
func (m *mbap) rest(ctx context.Context, station byte, deadline time.Time) error {
	if m.unit == nil || m.unit.pause == 0 {
		return nil
	}
	now := m.now().Mono
	wait := time.Duration(m.calm[station] - now)
	if wait > 0 && wait > time.Until(deadline)/2 { // the request needs time too
		return unsent{&drivers.Later{Until: now + int64(wait), Why: fmt.Errorf("the device wants %v between requests", m.unit.pause)}}
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return unsent{ctx.Err()}
		}
	}
	return nil
}
