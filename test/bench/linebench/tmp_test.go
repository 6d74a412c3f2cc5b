package linebench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"davy/cmd/davy-plant/relay"
	"davy/test/floor/idealline"
)

func TestTmpGap(t *testing.T) {
	for _, baud := range []int{9600, 115200} {
		l, err := wire(baud)
		if err != nil {
			t.Fatal(err)
		}
		l.stop()
		<-l.done
		var mu sync.Mutex
		var ends time.Time
		var asks time.Time
		var gaps, turns []time.Duration
		char := relay.Line{Baud: baud}.Char()
		l.Fault = func(b relay.Burst) relay.Effect {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			if b.From == relay.Master {
				if !ends.IsZero() {
					gaps = append(gaps, now.Sub(ends))
				}
				asks = now.Add(time.Duration(len(b.Data)) * char)
			} else {
				turns = append(turns, now.Sub(asks))
				ends = now.Add(time.Duration(len(b.Data)) * char)
			}
			return relay.Effect{Pieces: []relay.Piece{{Data: b.Data}}}
		}
		if err := l.Open(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		l.stop = cancel
		go func() { l.done <- l.Line.Run(ctx) }()
		ideal, _ := idealline.Open(l.Spec.Path, l.Spec.Turn())
		read, _, err := driver(l, baud)
		if err != nil {
			t.Fatal(err)
		}
		show := func(name string) {
			slices.Sort(gaps)
			slices.Sort(turns)
			q := func(v []time.Duration) string { return fmt.Sprint(v[0], v[len(v)/4], v[len(v)/2], v[len(v)*3/4], v[len(v)-1]) }
			fmt.Println(baud, name, "t3.5", l.Spec.Turn(), "gap", q(gaps[1:]), "turn", q(turns[1:]))
			gaps, turns = nil, nil
		}
		for range 20 {
			ideal.Ask(request(), answerSize)
		}
		show("ideal")
		for range 20 {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		show("driver")
		l.close()
	}
}
