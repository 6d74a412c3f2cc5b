package opcua

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uasc"
)

// Limits of subscriptions. What a client asks beyond an interval or MaxQueue is
// revised; beyond the counts it is refused with the status that says so. At
// MaxPublish waiting requests of one session the oldest is answered
// BadTooManyPublishRequests. A notification has at most MaxPerPublish values.
const (
	MinPublishing    = 50 * time.Millisecond
	MinSampling      = 20 * time.Millisecond
	MaxInterval      = time.Hour
	MaxSubscriptions = 100
	MaxItems         = 10000 // of all subscriptions
	MaxQueue         = 1000  // values of one item
	MaxPublish       = 100
	MaxPerPublish    = 1000
	defaultKeepAlive = 10 // publishing intervals
)

// subscriptions are all that clients subscribed to in one life of the server.
type subscriptions struct {
	srv              *server.Server
	silent, overflow *atomic.Bool
	ctx              context.Context
	wg               sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	lastID  uint32 // of subscriptions and items
	all     map[uint32]*subscription
	items   int
	waiting map[string][]publish // by session
}

// publish is a client's request that waits for something to say.
type publish struct {
	sc     *uasc.SecureChannel
	id     uint32
	handle uint32
	acks   int
}

// subscription is one client's. Its mutable fields are guarded by subscriptions.mu.
type subscription struct {
	id       uint32
	session  *ua.NodeID // its authentication token
	interval time.Duration
	keep     uint32 // intervals without data after which it says that it lives
	lifetime uint32 // intervals without a request after which it ends
	mute     bool   // publishing is switched off
	items    []*item
	seq      uint32
	idle     uint32
	lost     uint32
	due      time.Time
	began    bool // something was said
	late     bool // it has something to say and nobody asked
	wake     chan struct{}
	done     chan struct{}
	ended    bool
}

func newSubscriptions(ctx context.Context, srv *server.Server, silent, overflow *atomic.Bool) *subscriptions {
	return &subscriptions{
		srv: srv, silent: silent, overflow: overflow, ctx: ctx,
		all: map[uint32]*subscription{}, waiting: map[string][]publish{},
	}
}

// wait lets nothing begin any more and waits for everything to end, after ctx.
func (s *subscriptions) wait() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}

// spawn is a goroutine that wait waits for. mu is held.
func (s *subscriptions) spawn(f func()) {
	if !s.closed {
		s.wg.Go(f)
	}
}

// value reads an attribute of any namespace.
func (s *subscriptions) value(n *ua.NodeID, a ua.AttributeID) *ua.DataValue {
	ns, err := s.srv.Namespace(int(n.Namespace()))
	if err != nil {
		return &ua.DataValue{EncodingMask: ua.DataValueStatusCode, Status: ua.StatusBadNodeIDUnknown}
	}
	return ns.Attribute(n, a)
}

// run samples and publishes until the subscription ends.
func (s *subscriptions) run(sub *subscription) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-sub.done:
			return
		case <-sub.wake:
		case <-timer.C:
		}
		next := s.turn(sub)
		timer.Reset(time.Until(next))
	}
}

// turn does what is due and returns when to come back.
func (s *subscriptions) turn(sub *subscription) time.Time {
	now := time.Now()
	s.mu.Lock()
	if sub.ended {
		s.mu.Unlock()
		return now.Add(MaxInterval)
	}
	next := s.sample(sub, now)
	var out []answer
	if !sub.due.After(now) || sub.late && len(s.waiting[sub.session.String()]) > 0 {
		out = s.collect(sub)
		for !sub.due.After(now) {
			sub.due = sub.due.Add(sub.interval)
		}
	}
	if sub.due.Before(next) {
		next = sub.due
	}
	s.mu.Unlock()
	for _, a := range out {
		if !a.send(s.ctx) {
			s.end(sub) // its connection is gone
		}
	}
	return next
}

// sample takes every item's value that is due. mu is held: a Source never waits for it.
func (s *subscriptions) sample(sub *subscription, now time.Time) (next time.Time) {
	next = now.Add(MaxInterval)
	for _, i := range sub.items {
		if !i.next.After(now) {
			i.sample(s.value(i.node, i.attr), s.overflow.Load())
			if i.next = i.next.Add(i.sampling); i.next.Before(now) { // it was kept waiting
				i.next = now.Add(i.sampling)
			}
		}
		if i.next.Before(next) {
			next = i.next
		}
	}
	return next
}

// answer is a response on its way.
type answer struct {
	to   publish
	what ua.Response
}

// send reports whether its connection still stands.
func (a answer) send(ctx context.Context) bool {
	return a.to.sc.SendResponseWithContext(ctx, a.to.id, a.what) == nil
}

// collect makes what a subscription has to say at the end of an interval. mu is held.
func (s *subscriptions) collect(sub *subscription) (out []answer) {
	if s.silent.Load() {
		return nil
	}
	sub.late = false
	token := sub.session.String()
	if s.srv.Session(&ua.RequestHeader{AuthenticationToken: sub.session}) == nil {
		s.remove(sub)
		return nil
	}
	waiting := func() bool {
		for _, i := range sub.items {
			if i.mode == ua.MonitoringModeReporting && len(i.queue) > 0 {
				return !sub.mute
			}
		}
		return false
	}
	for waiting() || len(out) == 0 && (!sub.began || sub.idle+1 >= sub.keep) {
		to, ok := s.pop(token)
		if !ok {
			sub.late = true // the next request is answered at once
			if sub.lost++; sub.lost >= sub.lifetime {
				s.remove(sub)
			}
			return out
		}
		sub.lost, sub.idle, sub.began = 0, 0, true
		var values []*ua.MonitoredItemNotification
		if !sub.mute {
			for _, i := range sub.items {
				values = append(values, i.take(MaxPerPublish-len(values))...)
			}
		}
		message := &ua.NotificationMessage{SequenceNumber: sub.seq + 1, PublishTime: time.Now(), NotificationData: []*ua.ExtensionObject{}}
		if len(values) > 0 {
			data := ua.NewExtensionObject(&ua.DataChangeNotification{MonitoredItems: values, DiagnosticInfos: []*ua.DiagnosticInfo{}})
			data.UpdateMask()
			message.NotificationData = []*ua.ExtensionObject{data}
			if sub.seq++; sub.seq == 1<<32-1 {
				sub.seq = 0 // 0 is never used, the next is 1
			}
		}
		out = append(out, answer{to, &ua.PublishResponse{
			ResponseHeader: header(to.handle, ua.StatusOK), SubscriptionID: sub.id, MoreNotifications: waiting(),
			NotificationMessage: message, AvailableSequenceNumbers: []uint32{}, // nothing is kept to be sent again
			Results: make([]ua.StatusCode, to.acks), DiagnosticInfos: []*ua.DiagnosticInfo{},
		}})
	}
	if len(out) == 0 {
		sub.idle++
	}
	return out
}

// pop takes the oldest waiting request of a session. mu is held.
func (s *subscriptions) pop(token string) (publish, bool) {
	q := s.waiting[token]
	if len(q) == 0 {
		return publish{}, false
	}
	if s.waiting[token] = q[1:]; len(q) == 1 {
		delete(s.waiting, token)
	}
	return q[0], true
}

// end ends a subscription.
func (s *subscriptions) end(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(sub)
}

// remove is end with mu held. It answers what waits in vain.
func (s *subscriptions) remove(sub *subscription) {
	if sub.ended {
		return
	}
	sub.ended = true
	close(sub.done)
	delete(s.all, sub.id)
	s.items -= len(sub.items)
	for _, other := range s.all {
		if other.session.Equal(sub.session) {
			return
		}
	}
	token := sub.session.String()
	for to, ok := s.pop(token); ok; to, ok = s.pop(token) {
		a := answer{to, fault(to.handle, ua.StatusBadNoSubscription)}
		s.spawn(func() { a.send(s.ctx) })
	}
}

// header is a response's.
func header(handle uint32, status ua.StatusCode) *ua.ResponseHeader {
	return &ua.ResponseHeader{
		Timestamp: time.Now(), RequestHandle: handle, ServiceResult: status,
		ServiceDiagnostics: &ua.DiagnosticInfo{}, StringTable: []string{}, AdditionalHeader: ua.NewExtensionObject(nil),
	}
}

func fault(handle uint32, status ua.StatusCode) *ua.ServiceFault {
	return &ua.ServiceFault{ResponseHeader: header(handle, status)}
}
