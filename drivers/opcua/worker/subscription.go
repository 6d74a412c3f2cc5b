package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
	"davy/drivers/tag"
)

// The limits of a subscription.
const (
	publishers   = 2                     // publish requests under way: one at the server while the other's answer is read
	lifetime     = 30 * time.Second      // a server drops a subscription that nobody asks for so long, at least
	perPublish   = 2000                  // notifications in one answer, at most
	queueMost    = 1000                  // samples that a server keeps of one item
	eventQueue   = 1000                  // events
	requestBytes = 32 << 10              // of node ids in one request
	publishRest  = 50 * time.Millisecond // between two publish requests of which the first brought nothing
	reorder      = time.Second           // how long a message that overtook another waits for it
	heldMost     = 8                     // such messages
	// silence is what a subscription may be late beside two publishing intervals;
	// the rest to five seconds is for noticing.
	silence = 4500 * time.Millisecond
	// slowest is how rare a server may make its keep-alives; with rarer ones there
	// is no session: old values would be taken for present ones meanwhile.
	slowest = 2 * time.Minute
)

// subscription is the one subscription of a session. There is no channel of
// notifications that could run full: what a publish request brings is handed on
// before the next is sent, and where the parent is slow the server's queues
// fill and say so.
type subscription struct {
	s            *session
	first, count uint32
	items        []opcua.Item // by handle - first
	id           uint32
	interval     time.Duration // as the server revised it
	deadline     time.Duration
	refused      []uint32 // handles that the server does not watch; of the owner of the session
	last         atomic.Int64

	mu         sync.Mutex
	next       uint32 // sequence number
	held       map[uint32]*held
	ahead      uint32 // the newest that was seen, by keep-alives too
	aheadSince time.Time
	acks       []*ua.SubscriptionAcknowledgement
	batch      []opcua.Sample
	alarms     map[uint32]*alarms // by handle
	asking     bool               // a refresh is asked for
	wanted     bool               // and another is wanted after it
	refreshing func()             // asks for one; a test's own
}

type held struct {
	message  *ua.NotificationMessage
	received tag.Stamp
}

// build makes the subscription from nothing: a read of all values, so that each
// point has one of this session's, the items by the few hundred, then the
// publish requests. An item that the server refuses is bad with its status; the
// others do not suffer.
func (s *session) build(ctx context.Context, asked opcua.Ask, all []opcua.Item) error {
	w := s.w
	o := &w.hello.Options
	sub := &subscription{
		s: s, first: asked.First, count: asked.Count, items: all[asked.First : asked.First+asked.Count],
		next: 1, held: map[uint32]*held{}, alarms: map[uint32]*alarms{},
	}
	sub.refreshing = sub.refresh
	samples := make([]opcua.Sample, sub.count)
	handles := make([]uint32, 0, sub.count)
	for i := range sub.items {
		if sub.items[i].Address.What != opcua.Conditions {
			handles = append(handles, sub.first+uint32(i))
		}
	}
	unreadable := map[uint32]bool{}
	err := s.readAll(ctx, handles, all, func(got opcua.Sample, unread bool) {
		samples[got.Handle-sub.first] = got
		unreadable[got.Handle] = unread
	})
	if err != nil {
		return fail(opcua.CodeSession, fmt.Errorf("read all values: %w", err))
	}

	publishing := max(o.Publishing, opcua.MinPublishing)
	keep := max(1, int(o.KeepAlive/publishing))
	for keep > 1 && time.Duration(keep)*publishing+1500*time.Millisecond > 2*publishing+silence {
		keep-- // a keep-alive must be missed before the deadline
	}
	life := max(3*keep, int(lifetime/publishing))
	made, err := call[*ua.CreateSubscriptionResponse](ctx, s.c, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: float64(publishing) / 1e6, RequestedMaxKeepAliveCount: uint32(keep), RequestedLifetimeCount: uint32(life),
		MaxNotificationsPerPublish: perPublish, PublishingEnabled: true,
	})
	if err != nil {
		return fail(opcua.CodeSession, fmt.Errorf("create subscription: %w", err))
	}
	sub.id = made.SubscriptionID
	if sub.interval = millis(made.RevisedPublishingInterval); sub.interval <= 0 || sub.id == 0 {
		return fail(opcua.CodeSession, errors.New("create subscription: the server gave none"))
	}
	sub.deadline = 2*publishing + silence
	if real := time.Duration(max(1, made.RevisedMaxKeepAliveCount)) * sub.interval; real+1500*time.Millisecond > sub.deadline {
		if sub.deadline = real + real/2 + time.Second; made.RevisedMaxKeepAliveCount > math.MaxInt32 || sub.interval > slowest || real > slowest {
			return fail(opcua.CodeSession, fmt.Errorf("create subscription: the server would say that it lives every %d × %v only, and silence could not be noticed",
				made.RevisedMaxKeepAliveCount, sub.interval))
		}
		w.log.Warn("opc ua server keeps its own pace: silence is noticed later", "publishing_ms", sub.interval.Milliseconds(),
			"keep_alive_ms", real.Milliseconds(), "noticed_ms", sub.deadline.Milliseconds())
	}
	var create []uint32
	for i := range sub.items {
		if h := sub.first + uint32(i); unreadable[h] {
			sub.refused = append(sub.refused, h)
		} else {
			create = append(create, h)
		}
	}
	err = sub.create(ctx, create, func(h uint32, bad opcua.Sample) {
		samples[h-sub.first] = bad
		sub.refused = append(sub.refused, h)
	})
	if err != nil {
		return err
	}
	n := 0
	for i := range samples {
		if samples[i].Received != (tag.Stamp{}) { // conditions have none before their refresh
			samples[n] = samples[i]
			n++
		}
	}
	w.emit(s, 0, samples[:n])
	sub.last.Store(int64(time.Since(w.start)))
	s.sub = sub
	for range publishers {
		s.group.Go(sub.publish)
	}
	sub.mu.Lock()
	if len(sub.alarms) > 0 {
		sub.ask()
	}
	sub.mu.Unlock()
	w.log.Info("opc ua subscription made", "items", sub.count, "refused", len(sub.refused), "publishing_ms", sub.interval.Milliseconds())
	return nil
}

// readAll reads items by the few hundred and gives one sample for each. Where
// a request as a whole is refused or cannot be decoded it is halved, until one
// item stands alone, which is then bad (unread true). The error says that the
// session is in doubt.
func (s *session) readAll(ctx context.Context, handles []uint32, all []opcua.Item, each func(got opcua.Sample, unread bool)) error {
	what := make([]*ua.ReadValueID, 0, s.space.perRead)
	for len(handles) > 0 {
		what = what[:0]
		asked := handles[:0:0]
		taken, bytes := 0, 0
		for taken < len(handles) && len(what) < s.space.perRead && bytes < requestBytes {
			h := handles[taken]
			taken++
			node, index, err := s.space.node(all[h].Address)
			if err != nil {
				each(missing(h, s.w.clock.Now()), false)
				continue
			}
			what, asked = append(what, value(node, index)), append(asked, h)
			bytes += len(all[h].Address.ID) + 16
		}
		handles = handles[taken:]
		if err := s.readSome(ctx, what, asked, all, each); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) readSome(ctx context.Context, what []*ua.ReadValueID, asked []uint32, all []opcua.Item, each func(opcua.Sample, bool)) error {
	if len(what) == 0 {
		return nil
	}
	values, err := s.c.read(ctx, what...)
	received := s.w.clock.Now()
	var status ua.StatusCode
	switch {
	case err == nil:
		for i, h := range asked {
			got := sample(h, &all[h], values[i], received)
			if got.Overflow {
				got.Overflow = false // of a read it means nothing
			}
			each(got, false)
		}
		return nil
	case !errors.As(err, &status) || fatal(status):
		return err
	case len(what) == 1:
		each(refused(asked[0], status, received), true)
		return nil
	}
	half := len(what) / 2
	if err := s.readSome(ctx, what[:half], asked[:half], all, each); err != nil {
		return err
	}
	return s.readSome(ctx, what[half:], asked[half:], all, each)
}

// fatal reports whether a status of a whole request says that there is no
// session any more, rather than that this request was refused.
func fatal(status ua.StatusCode) bool {
	switch status {
	case ua.StatusBadTimeout, ua.StatusBadSessionIDInvalid, ua.StatusBadSessionClosed, ua.StatusBadSessionNotActivated,
		ua.StatusBadSecureChannelIDInvalid, ua.StatusBadSecureChannelClosed, ua.StatusBadServerHalted, ua.StatusBadShutdown,
		ua.StatusBadSubscriptionIDInvalid, ua.StatusBadNoSubscription, ua.StatusBadConnectionClosed, ua.StatusBadNotConnected,
		ua.StatusBadCommunicationError, ua.StatusBadSecurityChecksFailed, ua.StatusBadServiceUnsupported:
		return true
	}
	return false
}

// create makes the server watch items; bad is called for each that it does not.
func (sub *subscription) create(ctx context.Context, handles []uint32, bad func(h uint32, s opcua.Sample)) error {
	space := sub.s.space
	for len(handles) > 0 {
		var what []*ua.MonitoredItemCreateRequest
		var asked []uint32
		taken, bytes := 0, 0
		for taken < len(handles) && len(what) < space.perCreate && bytes < requestBytes {
			h := handles[taken]
			taken++
			item := &sub.items[h-sub.first]
			node, index, err := space.node(item.Address)
			if err != nil {
				bad(h, missing(h, sub.s.w.clock.Now()))
				continue
			}
			what, asked = append(what, sub.monitor(h, item, node, index)), append(asked, h)
			if bytes += len(item.Address.ID) + 64; item.Address.What == opcua.Conditions {
				bytes += 1024
			}
		}
		handles = handles[taken:]
		if err := sub.createSome(ctx, what, asked, bad); err != nil {
			return err
		}
	}
	return nil
}

// monitor is the request for one item. Its queue holds what is sampled between
// two publications, and two more.
func (sub *subscription) monitor(h uint32, item *opcua.Item, node *ua.NodeID, index string) *ua.MonitoredItemCreateRequest {
	if item.Address.What == opcua.Conditions {
		return &ua.MonitoredItemCreateRequest{
			ItemToMonitor:       &ua.ReadValueID{NodeID: node, AttributeID: ua.AttributeIDEventNotifier, DataEncoding: &ua.QualifiedName{}},
			MonitoringMode:      ua.MonitoringModeReporting,
			RequestedParameters: &ua.MonitoringParameters{ClientHandle: h, Filter: eventFilter(), QueueSize: eventQueue, DiscardOldest: true},
		}
	}
	sampling := item.Sampling
	if sampling <= 0 {
		sampling = sub.interval
	}
	queue := min(math.Ceil(float64(sub.interval)/float64(sampling))+2, queueMost)
	return &ua.MonitoredItemCreateRequest{
		ItemToMonitor:       value(node, index),
		MonitoringMode:      ua.MonitoringModeReporting,
		RequestedParameters: &ua.MonitoringParameters{ClientHandle: h, SamplingInterval: float64(sampling) / 1e6, QueueSize: uint32(queue), DiscardOldest: true},
	}
}

func (sub *subscription) createSome(ctx context.Context, what []*ua.MonitoredItemCreateRequest, asked []uint32, bad func(uint32, opcua.Sample)) error {
	if len(what) == 0 {
		return nil
	}
	res, err := call[*ua.CreateMonitoredItemsResponse](ctx, sub.s.c, &ua.CreateMonitoredItemsRequest{
		SubscriptionID: sub.id, TimestampsToReturn: ua.TimestampsToReturnBoth, ItemsToCreate: what,
	})
	received := sub.s.w.clock.Now()
	var status ua.StatusCode
	switch {
	case err == nil && len(res.Results) != len(what):
		return fail(opcua.CodeSession, fmt.Errorf("create items: the server answered %d results for %d", len(res.Results), len(what)))
	case err == nil:
		for i, h := range asked {
			if code := res.Results[i].StatusCode; uint32(code)>>30 != 0 {
				bad(h, refused(h, code, received))
			} else if sub.items[h-sub.first].Address.What == opcua.Conditions {
				sub.mu.Lock()
				sub.alarms[h] = newAlarms()
				sub.mu.Unlock()
			}
		}
		return nil
	case !errors.As(err, &status) || fatal(status):
		return fail(opcua.CodeSession, fmt.Errorf("create items: %w", err))
	case len(what) == 1:
		bad(asked[0], refused(asked[0], status, received))
		return nil
	}
	half := len(what) / 2
	if err := sub.createSome(ctx, what[:half], asked[:half], bad); err != nil {
		return err
	}
	return sub.createSome(ctx, what[half:], asked[half:], bad)
}

// again asks for the refused items once more; namespaces may have come.
func (s *session) again(ctx context.Context) error {
	sub := s.sub
	if now, err := s.c.learn(ctx); err == nil {
		if err := s.space.follow(now.namespaces); err != nil {
			return fail(opcua.CodeSession, err)
		}
	}
	was := sub.refused
	sub.refused = nil
	sub.mu.Lock()
	known := len(sub.alarms)
	sub.mu.Unlock()
	err := sub.create(ctx, was, func(h uint32, bad opcua.Sample) {
		sub.refused = append(sub.refused, h)
		s.w.emit(s, 0, []opcua.Sample{bad})
	})
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err == nil && len(sub.alarms) > known {
		sub.ask()
	}
	return err
}

// overdue is the data clock: nil while the subscription speaks.
func (sub *subscription) overdue(now time.Duration) error {
	if quiet := now - time.Duration(sub.last.Load()); quiet > sub.deadline {
		return fmt.Errorf("the subscription said nothing for %v", quiet.Round(time.Millisecond))
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if !sub.aheadSince.IsZero() && time.Since(sub.aheadSince) > reorder {
		return fmt.Errorf("notification %d is missing, %d came", sub.next, sub.ahead)
	}
	return nil
}

// millis is a duration of the server, in milliseconds; 0 where it is none.
func millis(ms float64) time.Duration {
	if !(ms > 0 && ms < 1e9) {
		return 0
	}
	return time.Duration(ms * 1e6)
}
