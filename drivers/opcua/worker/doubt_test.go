package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// A server that answers every publish request with what it said before, or with
// another's, does not live: its data clock stands still.
func TestOldNewsAreSilence(t *testing.T) {
	other := data(2, 7)
	other.SubscriptionID = 9
	for name, f := range map[string]struct {
		res   *ua.PublishResponse
		alive bool
	}{
		"the message before":     {data(1, 1), false},
		"one long gone":          {data(0xfffffff0, 1), false},
		"another subscription's": {other, false},
		"the next message":       {data(2, 2), true},
		"one that overtook":      {data(3, 3), true},
		"a keep-alive":           {data(2), true},
	} {
		sub, out := newTestSubscription()
		if err := sub.take(data(1, 1), tag.Stamp{Mono: 1}); err != nil {
			t.Fatal(err)
		}
		sub.last.Store(0)
		if news := sub.news(f.res); news != (name == "the next message" || name == "one that overtook") {
			t.Errorf("%s: news: %v", name, news)
		}
		if err := sub.take(f.res, tag.Stamp{Mono: 2}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if alive := sub.last.Load() != 0; alive != f.alive {
			t.Errorf("%s: taken for a sign of life: %v", name, alive)
		}
		if len(out.values) > 2 || len(out.values) == 2 && name != "the next message" {
			t.Errorf("%s: values %v", name, out.values)
		}
	}
}

// Indices that move under a session are a doubt, and until then nothing is
// looked up by the new ones; namespaces that come are taken.
func TestNamespacesThatMove(t *testing.T) {
	s := &space{namespaces: indices([]string{"http://opcfoundation.org/UA/", "urn:server", "urn:a", "urn:b"})}
	node := func(uri string) string {
		n, _, err := s.node(opcua.Address{Type: opcua.Text, URI: uri, ID: "X"})
		if err != nil {
			return err.Error()
		}
		return n.String()
	}
	for name, now := range map[string][]string{
		"another between": {"http://opcfoundation.org/UA/", "urn:server", "urn:new", "urn:a", "urn:b"},
		"turned":          {"http://opcfoundation.org/UA/", "urn:server", "urn:b", "urn:a"},
		"one gone":        {"http://opcfoundation.org/UA/", "urn:server", "urn:a"},
		"none":            {},
		"twice":           {"http://opcfoundation.org/UA/", "urn:b", "urn:a", "urn:b"},
	} {
		if err := s.follow(indices(now)); err == nil || !strings.Contains(err.Error(), "changed its namespaces") {
			t.Errorf("%s: %v", name, err)
		}
		if a, b := node("urn:a"), node("urn:b"); a != "ns=2;s=X" || b != "ns=3;s=X" {
			t.Errorf("%s: %s, %s", name, a, b)
		}
	}
	if err := s.follow(indices([]string{"http://opcfoundation.org/UA/", "urn:server", "urn:a", "urn:b", "urn:c"})); err != nil || node("urn:c") != "ns=4;s=X" {
		t.Errorf("one more: %v, %s", err, node("urn:c"))
	}
}

// event is an event of kind, of condition a of item 1.
func event(kind uint32, active bool) *ua.EventNotificationList {
	f := make([]*ua.Variant, fields)
	f[fieldEventType] = ua.MustVariant(ua.NewNumericNodeID(0, kind))
	f[fieldCondition] = ua.MustVariant(ua.NewStringNodeID(2, "a"))
	f[fieldActive], f[fieldRetain] = ua.MustVariant(active), ua.MustVariant(true)
	return &ua.EventNotificationList{Events: []*ua.EventFieldList{{ClientHandle: 1, EventFields: f}}}
}

const (
	anAlarm, refreshStarts, refreshEnds, refreshRequired = 9999, 2787, 2788, 2789
)

// A server that wants a refresh with every event gets one a second, and is asked
// for no two at a time.
func TestARefreshStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub, _ := newTestSubscription()
		var cancel context.CancelFunc
		sub.s.ctx, cancel = context.WithCancel(t.Context())
		under, asked := 0, 0
		sub.refreshing = func() {
			if under++; under > 1 {
				t.Error("two refreshes at a time")
			}
			time.Sleep(100 * time.Millisecond) // of the bubble
			under--
			asked++
		}
		for range 2000 {
			sub.mu.Lock()
			if err := sub.events(event(refreshRequired, false), sub.s.w.clock.Now()); err != nil {
				t.Fatal(err)
			}
			sub.mu.Unlock()
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		cancel()
		sub.s.group.Wait()
		if asked < 9 || asked > 12 {
			t.Errorf("%d refreshes in ten seconds", asked)
		}
	})
}

// A refresh that never ends hides nothing: the count follows, and after a while
// it is bad until another has ended, and what comes is news again.
func TestARefreshWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub, out := newTestSubscription()
		var cancel context.CancelFunc
		sub.s.ctx, cancel = context.WithCancel(t.Context())
		asked := 0
		sub.refreshing = func() { asked++ }
		say := func(kind uint32, active bool) {
			t.Helper()
			sub.mu.Lock()
			defer sub.mu.Unlock()
			if err := sub.events(event(kind, active), sub.s.w.clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		last := func() string {
			s := out.samples[len(out.samples)-1]
			return fmt.Sprint(s.Quality.Good(), s.Value)
		}
		say(refreshStarts, false)
		say(anAlarm, false)
		say(refreshEnds, false)
		say(refreshStarts, false)
		n := len(out.samples)
		say(anAlarm, false)
		if len(out.samples) != n {
			t.Errorf("%d samples of what stands already", len(out.samples)-n)
		}
		say(anAlarm, true)
		if s := out.samples[len(out.samples)-1]; !s.Quality.Good() || s.Value.Int() != 1 {
			t.Errorf("within a refresh the count is %s", last())
		}
		time.Sleep(refreshMost + time.Second)
		say(anAlarm, true)
		if s := out.samples[len(out.samples)-1]; !s.Quality.Bad() || out.conditions[len(out.conditions)-1].Refreshed {
			t.Errorf("after %v the count is %s, %+v", refreshMost, last(), out.conditions[len(out.conditions)-1])
		}
		synctest.Wait()
		if asked != 1 {
			t.Errorf("%d refreshes asked for", asked)
		}
		cancel()
		sub.s.group.Wait()
	})
}

// A stranger's text is cut between characters and is text; two names that differ
// stay two.
func TestShort(t *testing.T) {
	for _, s := range []string{
		strings.Repeat("液位", opcua.MaxText), "a" + strings.Repeat("液位", opcua.MaxText), "ab" + strings.Repeat("液", opcua.MaxText),
		strings.Repeat("\xff", 2*opcua.MaxText), strings.Repeat("😀", opcua.MaxText), "\xe6\xb6", "", strings.Repeat("x", opcua.MaxText),
	} {
		got := short(s)
		if !utf8.ValidString(got) || len(got) > opcua.MaxText || utf8.ValidString(s) && (!strings.HasPrefix(s, got) || len(got) < min(len(s), opcua.MaxText-utf8.UTFMax+1)) {
			t.Errorf("%d bytes of %.9q: %d bytes, ends in %q", len(s), s, len(got), got[max(0, len(got)-6):])
		}
	}
	long := strings.Repeat("液", opcua.MaxText)
	seen := map[string]string{}
	for _, s := range []string{long, long + "1", long + "2", "\xff", "\xfe", "\xff?", "?", strings.Repeat("\xff", 2000), "ns=2;s=a"} {
		n := name(s)
		if was, twice := seen[n]; twice || !utf8.ValidString(n) || len(n) > opcua.MaxText {
			t.Errorf("%.9q: %q, and so is %.9q", s, n, was)
		}
		seen[n] = s
	}
	if name("ns=2;s=a") != "ns=2;s=a" {
		t.Error("a plain name is changed")
	}
}
