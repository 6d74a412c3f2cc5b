package opcua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"davy/drivers"
	"davy/drivers/child"
)

// Points whose names and texts do not go into one frame go in several: no
// length that the configuration takes keeps a link from its server.
func TestItemsLongerThanAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := points(t, 2*MaxItems)
		bytes := 0
		for i := range ps {
			ps[i].Address = Address{URI: strings.Repeat("u", 400), Type: Text, ID: fmt.Sprintf("%0500d", i)}
			for n := range 60 {
				ps[i].Texts = append(ps[i].Texts, drivers.Text{Text: strings.Repeat("t", 40), Index: uint32(n)})
			}
			bytes += 900 + 60*40
		}
		if bytes < 2*child.MaxFrame {
			t.Fatalf("%d bytes go into a frame each", bytes)
		}
		d, children := puppets(t, func(p *puppet) {
			a, ok := subscribed(p)
			if !ok {
				return
			}
			if int(a.Count) != len(ps) || len(p.items) != len(ps) {
				t.Errorf("%d items of %d", len(p.items), a.Count)
			}
			for i := range ps {
				if p.items[a.First+uint32(i)].Address != ps[i].Address {
					t.Fatalf("item %d is %v", i, p.items[a.First+uint32(i)].Address)
				}
			}
			p.readings(1, 0, p.sample(a.First+uint32(len(ps)-1), 5))
			p.idle()
		})
		f := follow(t, open(t, d, config(nil)), ps, nil)
		synctest.Wait()
		f.end(t)
		if len(f.got) == 0 || f.got[0] != fmt.Sprintf("%d=5", ps[len(ps)-1].Tag) || children.Load() != 1 {
			t.Errorf("%.3q, %v, %d children", f.got, f.err, children.Load())
		}
	})
}

// A child's text is cut between characters: what goes on into a record is text.
func TestClip(t *testing.T) {
	for n := range 5 {
		s := strings.Repeat("x", MaxText-n) + strings.Repeat("液", 9)
		if got := clip(s); !utf8.ValidString(got) || len(got) > MaxText || len(got) < MaxText-utf8.UTFMax || !strings.HasPrefix(s, got) {
			t.Errorf("cut by %d: %d bytes, valid %v", n, len(got), utf8.ValidString(got))
		}
	}
	if clip("液位") != "液位" {
		t.Error("a short text is cut")
	}
}
