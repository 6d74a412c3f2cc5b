package uplink

import (
	"testing"
	"testing/synctest"
	"time"
)

// Where nothing comes back, everything goes once, events first, also over a
// connection that ends, and a receipt that somebody forges moves nothing.
func TestOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		p.oneWay = true
		for range 20 {
			p.add(1, 100)
		}
		lines := 0
		p.start(func(int) *line {
			lines++
			l := newLine(nil)
			l.receipts <- []byte("nonsense")
			if lines == 1 {
				time.AfterFunc(5*time.Second, func() { _ = l.Close() })
			}
			return l
		})
		wait(t, time.Second, "everything gone", func() bool { return p.backlog() == 0 })
		time.Sleep(MaxReceiptWait)
		p.add(1, 100)
		wait(t, time.Second, "what came later", func() bool { return p.backlog() == 0 })
		count, reading := map[string]int{}, false
		for i, l := range p.lines {
			for _, m := range l.messages() {
				for _, b := range m.e.Blocks {
					count[b.Stream] += int(b.Count)
				}
				if i == 0 && m.stream == "reading" {
					reading = true
				} else if i == 0 && reading && m.stream == "event" {
					t.Error("an event went after readings")
				}
			}
		}
		if lines != 2 || count["event"] != 22 || count["reading"] != 2100 {
			t.Errorf("%d connections, %v records", lines, count)
		}
		if s := p.u.Status(); !s.Connected || !s.Answering || s.Error != "" || s.Rewinds != 0 || s.LastReceipt.Wall == 0 {
			t.Errorf("status %+v", s)
		}
	})
}
