package agent

import (
	"context"
	"strings"
	"unicode/utf8"

	"davy/agent/operate"
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
	note := noteOf(e.Source, e.Name, strings.Join(words, " "), e.Message)
	// It fails only when the loop ends, and then nothing is recorded any more.
	_ = g.loop.Record(ctx, rules.Event{Kind: ring.DeviceEvent, At: e.Received, Tag: e.Tag, Value: tag.IntValue(int64(e.Severity)), Note: note})
}

// Bytes of what is kept of a device's words: of its source, its name and its
// message each; longer is cut and ends in …
const maxWord, maxMessage = 120, 600

// noteOf joins what a device says, as one line in which nothing moves a cursor.
func noteOf(source, name, state, message string) string {
	return operate.OneLine(strings.Join([]string{cut(source, maxWord), cut(name, maxWord), state, cut(message, maxMessage)}, " | "))
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := limit - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
