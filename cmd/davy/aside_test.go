package main

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// stuck is a standard error that nobody reads, until it is let go.
type stuck struct {
	free chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func TestALogThatHangsHoldsNobody(t *testing.T) {
	w := &stuck{free: make(chan struct{})}
	a := beside(w)
	log := slog.New(slog.NewJSONHandler(a, nil))
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for i := range asideLines + 100 {
			log.Info("line", "n", i)
		}
	}()
	select {
	case <-logged:
	case <-time.After(10 * time.Second):
		t.Fatal("a log that hangs held its caller")
	}
	close(w.free)
	a.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.buf.String()
	if got := strings.Count(out, `"msg":"line"`); got < asideLines {
		t.Errorf("%d lines written, %d had room", got, asideLines)
	}
	if !strings.Contains(out, `"msg":"log lines lost"`) {
		t.Error("nothing says that lines were lost")
	}
}
