package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// maxAlarms bounds the conditions that are known of one notifier; with more
// its count is not known, and is bad.
const maxAlarms = 10_000

// The fields of an event that are asked for, in this order (part 9).
const (
	fieldEventType = iota
	fieldSource
	fieldTime
	fieldMessage
	fieldSeverity
	fieldCondition // the condition's own node id
	fieldName
	fieldBranch
	fieldRetain
	fieldEnabled
	fieldActive
	fieldAcked
	fieldConfirmed
	fieldSuppressed
	fields
)

// eventFilter asks for these fields of every event, so that the marks of a
// refresh come too.
func eventFilter() *ua.ExtensionObject {
	of := func(kind uint32, attribute ua.AttributeID, path ...string) *ua.SimpleAttributeOperand {
		o := &ua.SimpleAttributeOperand{TypeDefinitionID: ns0(kind), AttributeID: attribute, BrowsePath: []*ua.QualifiedName{}}
		for _, name := range path {
			o.BrowsePath = append(o.BrowsePath, &ua.QualifiedName{Name: name})
		}
		return o
	}
	const v = ua.AttributeIDValue
	f := &ua.EventFilter{
		SelectClauses: []*ua.SimpleAttributeOperand{
			fieldEventType:  of(id.BaseEventType, v, "EventType"),
			fieldSource:     of(id.BaseEventType, v, "SourceName"),
			fieldTime:       of(id.BaseEventType, v, "Time"),
			fieldMessage:    of(id.BaseEventType, v, "Message"),
			fieldSeverity:   of(id.BaseEventType, v, "Severity"),
			fieldCondition:  of(id.ConditionType, ua.AttributeIDNodeID),
			fieldName:       of(id.ConditionType, v, "ConditionName"),
			fieldBranch:     of(id.ConditionType, v, "BranchId"),
			fieldRetain:     of(id.ConditionType, v, "Retain"),
			fieldEnabled:    of(id.ConditionType, v, "EnabledState", "Id"),
			fieldActive:     of(id.AlarmConditionType, v, "ActiveState", "Id"),
			fieldAcked:      of(id.AcknowledgeableConditionType, v, "AckedState", "Id"),
			fieldConfirmed:  of(id.AcknowledgeableConditionType, v, "ConfirmedState", "Id"),
			fieldSuppressed: of(id.AlarmConditionType, v, "SuppressedOrShelved"),
		},
		WhereClause: &ua.ContentFilter{Elements: []*ua.ContentFilterElement{}},
	}
	return &ua.ExtensionObject{TypeID: ua.NewFourByteExpandedNodeID(0, id.EventFilter_Encoding_DefaultBinary), EncodingMask: ua.ExtensionObjectBinary, Value: f}
}

// alarms is what is known of the conditions of one notifier. Its count is sent
// as the value of the item, once a refresh has told what stands.
type alarms struct {
	active     map[string]bool // retained conditions, by ID; true: active
	refreshing bool
	since      int64           // Mono: when the refresh under way began
	fresh      map[string]bool // of the refresh under way
	known      bool            // a refresh ended
	told       int64           // the count that was sent last
}

// The limits of refreshes.
const (
	refreshMost = 30 * time.Second // a refresh that has not ended by then never will: the count is bad, and what comes is news again
	refreshRest = time.Second      // between two that a server wants
)

func newAlarms() *alarms { return &alarms{active: map[string]bool{}} }

// count is the sample of the item.
func (a *alarms) count(handle uint32, received tag.Stamp) opcua.Sample {
	if !a.known || len(a.active) > maxAlarms {
		return opcua.Sample{Handle: handle, Quality: tag.BadDeviceFault, Received: received}
	}
	n := int64(0)
	for _, active := range a.active {
		if active {
			n++
		}
	}
	a.told = n
	return opcua.Sample{Handle: handle, Quality: tag.GoodQuality, Value: tag.IntValue(n), Received: received}
}

// put notes the state of a condition.
func (a *alarms) put(id string, retain, active bool) {
	m := a.active
	if a.refreshing {
		m = a.fresh
	}
	if !retain {
		delete(m, id)
		delete(a.active, id)
		return
	}
	if len(m) <= maxAlarms {
		m[id] = active
		if a.refreshing && len(a.active) <= maxAlarms {
			a.active[id] = active
		}
	}
}

// events hands on events of conditions. The caller holds mu.
func (sub *subscription) events(n *ua.EventNotificationList, received tag.Stamp) error {
	w := sub.s.w
	for _, e := range n.Events {
		if e == nil || sub.alarms[e.ClientHandle] == nil || len(e.EventFields) != fields {
			w.stats.Strays.Add(1)
			continue
		}
		a, h := sub.alarms[e.ClientHandle], e.ClientHandle
		get := func(i int) any {
			if e.EventFields[i] == nil {
				return nil
			}
			return e.EventFields[i].Value()
		}
		if a.refreshing && received.Mono-a.since > int64(refreshMost) {
			a.refreshing, a.fresh, a.known = false, nil, false
			w.emit(sub.s, 0, []opcua.Sample{a.count(h, received)})
			sub.ask()
		}
		kind, _ := get(fieldEventType).(*ua.NodeID)
		if kind != nil && kind.Namespace() == 0 {
			switch kind.IntID() {
			case id.RefreshStartEventType:
				a.refreshing, a.fresh, a.since = true, map[string]bool{}, received.Mono
				continue
			case id.RefreshEndEventType:
				if a.refreshing {
					a.active, a.fresh, a.refreshing, a.known = a.fresh, nil, false, true
				}
				w.emit(sub.s, 0, []opcua.Sample{a.count(h, received)})
				continue
			case id.RefreshRequiredEventType, id.EventQueueOverflowEventType:
				if kind.IntID() == id.EventQueueOverflowEventType {
					w.stats.Overflows.Add(1)
				}
				a.known = false // until the next refresh ends
				w.emit(sub.s, 0, []opcua.Sample{a.count(h, received)})
				sub.ask()
				continue
			}
		}
		condition, _ := get(fieldCondition).(*ua.NodeID)
		if condition == nil || condition.String() == "i=0" {
			w.stats.Unnamed.Add(1)
			continue
		}
		c := opcua.Condition{Generation: w.hello.Generation, Session: sub.s.number, Handle: h, Received: received, Refreshed: a.refreshing}
		c.ID = name(condition.String())
		branch, _ := get(fieldBranch).(*ua.NodeID)
		earlier := branch != nil && branch.String() != "i=0"
		if earlier {
			c.ID = name(condition.String() + " " + branch.String())
		}
		c.Source, c.Name, c.Message = words(get(fieldSource)), words(get(fieldName)), words(get(fieldMessage))
		if at, ok := get(fieldTime).(time.Time); ok {
			c.Time = nanos(at)
		}
		if n, ok := get(fieldSeverity).(uint16); ok && n <= 1000 {
			c.Severity = n
		}
		c.Retain, _ = get(fieldRetain).(bool)
		c.Enabled, _ = get(fieldEnabled).(bool)
		c.Active, _ = get(fieldActive).(bool)
		c.Acked, _ = get(fieldAcked).(bool)
		c.Confirmed, _ = get(fieldConfirmed).(bool)
		c.Suppressed, _ = get(fieldSuppressed).(bool)
		if !earlier { // a branch is an earlier state that waits for its acknowledgement: it does not stand now
			a.put(c.ID, c.Retain, c.Active)
		}
		w.condition(sub.s, &c)
		if !a.known {
			continue
		}
		// A refresh tells what stands already: of that only what changes the count is news.
		was := a.told
		if now := a.count(h, received); !a.refreshing || !now.Quality.Good() || now.Value.Int() != was {
			w.emit(sub.s, 0, []opcua.Sample{now})
		}
	}
	return nil
}

// condition hands a condition on if its session is still up.
func (w *Worker) condition(s *session, c *opcua.Condition) {
	w.out.Lock()
	defer w.out.Unlock()
	if w.up == s.number && w.broken == nil {
		w.say(w.sink.Condition(c))
	}
}

// words is the text of a field, cut to what a message may hold.
func words(v any) string {
	switch t := v.(type) {
	case string:
		return short(t)
	case *ua.LocalizedText:
		if t != nil {
			return short(t.Text)
		}
	}
	return ""
}

// short is a text of the server's as a message may hold it: whole characters, and
// not too many of them.
func short(s string) string {
	if len(s) > opcua.MaxText {
		s = s[:opcua.MaxText]
		for n := 1; n < utf8.UTFMax && len(s) > n; n++ { // a character that was cut through
			if b := s[len(s)-n]; utf8.RuneStart(b) {
				if !utf8.FullRuneInString(s[len(s)-n:]) {
					s = s[:len(s)-n]
				}
				break
			}
		}
	}
	return strings.ToValidUTF8(s, "?")
}

// name is short for what must stay different from every other: a name that
// cannot be told whole ends in its SHA-256.
func name(s string) string {
	if len(s) <= opcua.MaxText && utf8.ValidString(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return short(s[:min(len(s), opcua.MaxText/2)]) + " sha256:" + hex.EncodeToString(sum[:])
}

// ask asks for a refresh, one at a time: a server that wants one with every
// event gets one a second. The caller holds mu, in a goroutine of the session's
// group or before its end.
func (sub *subscription) ask() {
	if sub.asking {
		sub.wanted = true
		return
	}
	sub.asking = true
	sub.s.group.Go(func() {
		for {
			sub.refreshing()
			rest := time.NewTimer(refreshRest)
			select {
			case <-sub.s.ctx.Done():
				rest.Stop()
				return
			case <-rest.C:
			}
			sub.mu.Lock()
			if !sub.wanted {
				sub.asking = false
				sub.mu.Unlock()
				return
			}
			sub.wanted = false
			sub.mu.Unlock()
		}
	})
}

// refresh asks the server to tell again what stands. A server that cannot
// leaves the count of its notifiers unknown: bad, with its status.
func (sub *subscription) refresh() {
	s := sub.s
	ctx, cancel := context.WithTimeout(s.ctx, s.w.hello.Timeout+time.Second)
	defer cancel()
	argument, err := ua.NewVariant(sub.id)
	if err != nil {
		panic("BUG: opcua: no variant of a number: " + err.Error())
	}
	res, err := call[*ua.CallResponse](ctx, s.c, &ua.CallRequest{MethodsToCall: []*ua.CallMethodRequest{{
		ObjectID: ns0(id.ConditionType), MethodID: ns0(id.ConditionType_ConditionRefresh), InputArguments: []*ua.Variant{argument},
	}}})
	var status ua.StatusCode
	switch {
	case err == nil && len(res.Results) == 1:
		status = res.Results[0].StatusCode
	case err == nil:
		err = errors.New("no result")
	default:
		errors.As(err, &status)
	}
	switch {
	case s.ctx.Err() != nil || status == ua.StatusBadRefreshInProgress:
		return
	case err != nil && (status == 0 || fatal(status)):
		s.distrust(opcua.CodeSession, fmt.Errorf("refresh conditions: %w", err))
		return
	case uint32(status)>>30 == 0:
		return
	}
	s.w.log.Warn("opc ua server cannot tell what conditions stand", "status", statusName(uint32(status)))
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for h := range sub.alarms {
		s.w.emit(s, 0, []opcua.Sample{refused(h, status, s.w.clock.Now())})
	}
}
