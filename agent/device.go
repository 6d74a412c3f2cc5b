package agent

import (
	"context"
	"strings"

	"davy/agent/ring"
	"davy/drivers"
	"davy/drivers/tag"
	"davy/rules"
)

// tell records what a device says happened, as it says it: the words are its
// own, the states those of OPC UA part 9.
func (g *generation) tell(ctx context.Context, e drivers.Event) {
	var words []string
	for _, w := range []struct {
		on  bool
		yes string
		no  string
	}{{e.Active, "active", "inactive"}, {e.Acked, "acknowledged", "unacknowledged"}, {!e.Enabled, "disabled", ""}, {e.Suppressed, "suppressed", ""}} {
		word := w.no
		if w.on {
			word = w.yes
		}
		if word != "" {
			words = append(words, word)
		}
	}
	if e.Refreshed {
		words = append(words, "already so when it was asked for")
	}
	note := strings.Join([]string{e.Source, e.Name, strings.Join(words, " "), e.Message}, " | ")
	// It fails only when the loop ends, and then nothing is recorded any more.
	_ = g.loop.Record(ctx, rules.Event{Kind: ring.DeviceEvent, At: e.Received, Tag: e.Tag, Value: tag.IntValue(int64(e.Severity)), Note: note})
}
