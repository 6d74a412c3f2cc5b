package operate

import (
	"testing"
	"time"

	"davy/drivers/tag"
	"davy/rules"
)

// Before the first turn of a restart the engine holds ages: a time in 1970 is
// shown to nobody.
func TestAnAgeIsNoTime(t *testing.T) {
	i := rules.InterlockView{TrippedAt: tag.Stamp{Wall: -int64(90 * time.Second), Mono: -int64(90 * time.Second)}}
	if got := InterlockOf(&i).TrippedAt; !got.IsZero() {
		t.Errorf("tripped at %v", got)
	}
	i.TrippedAt.Wall = 1_800_000_000_000_000_000
	if got := InterlockOf(&i).TrippedAt; got.Unix() != 1_800_000_000 {
		t.Errorf("tripped at %v", got)
	}
}
