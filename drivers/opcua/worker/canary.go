package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/id"

	"davy/drivers/opcua"
)

// The states of a server in which its values are none (part 5, 12.6).
var notRunning = map[int32]string{1: "failed", 2: "without a configuration", 3: "suspended", 4: "shutting down", 6: "without communication"}

// canary reads a node over the session every so often: a server may publish
// keep-alives and read nothing, or say itself that it does not run.
func (s *session) canary() {
	o := &s.w.hello.Options
	node, index, err := s.space.node(o.Canary)
	if err != nil && o.Canary.ID != "" {
		s.w.log.Warn("the canary cannot be read; the server's own clock is read instead", "node", o.Canary.String(), "error", err)
	}
	if err != nil || o.Canary.ID == "" {
		node, index = ns0(id.Server_ServerStatus_CurrentTime), ""
	}
	clock := node.Namespace() == 0 && node.IntID() == id.Server_ServerStatus_CurrentTime
	every := max(o.KeepAlive, time.Second)
	standing, stood := time.Time{}, time.Now()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, max(canaryWait, every))
		values, err := s.c.read(ctx, value(node, index), value(ns0(id.Server_ServerStatus_State), ""), value(ns0(id.Server_NamespaceArray), ""))
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.distrust(opcua.CodeSilent, fmt.Errorf("canary read: %w", err))
			return
		}
		if state, ok := scalar(values[1]).(int32); ok {
			if word, bad := notRunning[state]; bad {
				s.distrust(opcua.CodeSession, fmt.Errorf("the server says that it is %s", word))
				return
			}
		}
		if names, ok := scalar(values[2]).([]string); ok {
			if err := s.space.follow(indices(names)); err != nil {
				s.distrust(opcua.CodeSession, err)
				return
			}
		}
		if at, ok := scalar(values[0]).(time.Time); ok && clock {
			// It may jump, but it must move.
			if !at.Equal(standing) {
				standing, stood = at, time.Now()
			} else if time.Since(stood) > max(10*time.Second, 3*every) {
				s.distrust(opcua.CodeSilent, errors.New("the server's clock stands still"))
				return
			}
		}
	}
}

// canaryWait is how long an answer to a canary read may take.
const canaryWait = 3 * time.Second
