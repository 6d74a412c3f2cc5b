package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// publish keeps one publish request at the server.
func (sub *subscription) publish() {
	s := sub.s
	limit := 4*sub.deadline + s.w.hello.Timeout // the data clock is what notices silence
	for s.ctx.Err() == nil {
		sub.mu.Lock()
		acks := sub.acks
		sub.acks = nil
		sub.mu.Unlock()
		if acks == nil {
			acks = []*ua.SubscriptionAcknowledgement{}
		}
		asked := time.Now()
		answer, err := s.c.callFor(s.ctx, &ua.PublishRequest{SubscriptionAcknowledgements: acks}, limit)
		received := s.w.clock.Now()
		switch {
		case s.ctx.Err() != nil:
			return
		case errors.Is(err, ua.StatusBadTooManyPublishRequests):
			return // the other one is enough; if it goes too, the data clock notices
		case err != nil:
			s.distrust(opcua.CodeSession, fmt.Errorf("publish: %w", err))
			return
		}
		res, ok := answer.(*ua.PublishResponse)
		if !ok {
			s.distrust(opcua.CodeSession, fmt.Errorf("publish: the server answered with a %T", answer))
			return
		}
		news := sub.news(res)
		if err := sub.take(res, received); err != nil {
			s.distrust(opcua.CodeSession, err)
			return
		}
		if early := publishRest - time.Since(asked); !news && early > 0 {
			rest := time.NewTimer(early)
			select {
			case <-s.ctx.Done():
			case <-rest.C:
			}
			rest.Stop()
		}
	}
}

// news reports whether an answer brings what was not there before. A server that
// answers at once although it has nothing to say is not asked again at once.
func (sub *subscription) news(res *ua.PublishResponse) bool {
	m := res.NotificationMessage
	if res.SubscriptionID != sub.id || m == nil || len(m.NotificationData) == 0 {
		return false
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	return m.SequenceNumber == sub.next || after(m.SequenceNumber, sub.next)
}

// take takes an answer to a publish request. Two are under way, so one may
// overtake the other between the library and here: messages are put back into
// the order of their numbers.
func (sub *subscription) take(res *ua.PublishResponse, received tag.Stamp) error {
	m := res.NotificationMessage
	if res.SubscriptionID != sub.id || m == nil {
		sub.s.w.stats.Strays.Add(1)
		return nil
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if len(m.NotificationData) == 0 { // a keep-alive: its number is the next one's
		sub.spoke()
		if m.SequenceNumber != sub.next && after(m.SequenceNumber, sub.next) {
			sub.overtaken(m.SequenceNumber - 1)
		}
		return nil
	}
	sub.acks = append(sub.acks, &ua.SubscriptionAcknowledgement{SubscriptionID: sub.id, SequenceNumber: m.SequenceNumber})
	switch {
	case m.SequenceNumber == sub.next:
	case !after(m.SequenceNumber, sub.next):
		sub.s.w.stats.Strays.Add(1) // twice; a server that says only old things says nothing
		return nil
	case len(sub.held) >= heldMost:
		return fmt.Errorf("notification %d is missing", sub.next)
	default:
		sub.spoke()
		sub.held[m.SequenceNumber] = &held{m, received}
		sub.overtaken(m.SequenceNumber)
		return nil
	}
	sub.spoke()
	for {
		if err := sub.notify(m, received); err != nil {
			return err
		}
		if sub.next++; sub.next == 0 {
			sub.next = 1
		}
		h := sub.held[sub.next]
		if h == nil {
			break
		}
		delete(sub.held, sub.next)
		m, received = h.message, h.received
	}
	if !after(sub.ahead+1, sub.next) {
		sub.aheadSince = time.Time{}
	}
	return nil
}

// spoke notes that the subscription said something new.
func (sub *subscription) spoke() { sub.last.Store(int64(time.Since(sub.s.w.start))) }

// overtaken notes that a message came before an earlier one.
func (sub *subscription) overtaken(number uint32) {
	if sub.aheadSince.IsZero() {
		sub.ahead, sub.aheadSince = number, time.Now()
	} else if after(number, sub.ahead) {
		sub.ahead = number
	}
}

// after compares sequence numbers, which go round.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// notify hands on what a message says. The caller holds mu.
func (sub *subscription) notify(m *ua.NotificationMessage, received tag.Stamp) error {
	for _, data := range m.NotificationData {
		if data == nil {
			return errors.New("a notification that is none")
		}
		switch n := data.Value.(type) {
		case *ua.DataChangeNotification:
			sub.changes(n, received)
		case *ua.EventNotificationList:
			if err := sub.events(n, received); err != nil {
				return err
			}
		case *ua.StatusChangeNotification:
			return fmt.Errorf("the server ended the subscription: %s", statusName(uint32(n.Status)))
		default:
			return fmt.Errorf("a notification of unknown type %T", data.Value)
		}
	}
	return nil
}

// changes hands on samples, in the order the server sent them.
func (sub *subscription) changes(n *ua.DataChangeNotification, received tag.Stamp) {
	w := sub.s.w
	sub.batch = sub.batch[:0]
	for _, x := range n.MonitoredItems {
		if x == nil || x.ClientHandle-sub.first >= sub.count || x.ClientHandle < sub.first {
			w.stats.Strays.Add(1)
			continue
		}
		got := sample(x.ClientHandle, &sub.items[x.ClientHandle-sub.first], x.Value, received)
		if got.Overflow {
			w.stats.Overflows.Add(1)
		}
		sub.batch = append(sub.batch, got)
	}
	w.emit(sub.s, 0, sub.batch)
}
