package idealline

import (
	"bytes"
	"io"
	"testing"
	"time"

	"davy/cmd/davy-plant/relay"
)

// It asks at once, takes the whole answer in however many pieces, and keeps the
// pause before it asks again.
func TestAsk(t *testing.T) {
	end, path, err := relay.Pty()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	const gap = 30 * time.Millisecond
	c, err := Open(path, gap)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for round := range 2 {
		done := make(chan time.Time, 1)
		go func() {
			got := make([]byte, 3)
			if _, err := io.ReadFull(end, got); err != nil || !bytes.Equal(got, []byte("ask")) {
				t.Errorf("%q, %v", got, err)
			}
			done <- time.Now()
			for _, piece := range []string{"an", "swer"} {
				if _, err := end.Write([]byte(piece)); err != nil {
					t.Error(err)
				}
			}
		}()
		last := c.last
		got, err := c.Ask([]byte("ask"), 6)
		if err != nil || string(got) != "answer" {
			t.Fatalf("%q, %v", got, err)
		}
		if asked := <-done; round > 0 && asked.Sub(last) < gap {
			t.Errorf("asked again after %v", asked.Sub(last))
		}
	}
}
