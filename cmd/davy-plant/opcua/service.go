package opcua

import (
	"math"
	"slices"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uasc"
)

// register has the services of subscriptions and monitored items come here. The
// library calls them one after another, from one goroutine.
func (s *subscriptions) register() {
	s.srv.RegisterHandler(id.CreateSubscriptionRequest_Encoding_DefaultBinary, handle(s, s.create))
	s.srv.RegisterHandler(id.ModifySubscriptionRequest_Encoding_DefaultBinary, handle(s, s.modify))
	s.srv.RegisterHandler(id.SetPublishingModeRequest_Encoding_DefaultBinary, handle(s, s.publishing))
	s.srv.RegisterHandler(id.DeleteSubscriptionsRequest_Encoding_DefaultBinary, handle(s, s.drop))
	s.srv.RegisterHandler(id.RepublishRequest_Encoding_DefaultBinary, handle(s, s.republish))
	s.srv.RegisterHandler(id.CreateMonitoredItemsRequest_Encoding_DefaultBinary, handle(s, s.createItems))
	s.srv.RegisterHandler(id.ModifyMonitoredItemsRequest_Encoding_DefaultBinary, handle(s, s.modifyItems))
	s.srv.RegisterHandler(id.SetMonitoringModeRequest_Encoding_DefaultBinary, handle(s, s.itemMode))
	s.srv.RegisterHandler(id.DeleteMonitoredItemsRequest_Encoding_DefaultBinary, handle(s, s.dropItems))
	s.srv.RegisterHandler(id.PublishRequest_Encoding_DefaultBinary, s.publish)
}

// handle makes a service of f: it is called with mu held, for a session that is
// there, and its error is a status code.
func handle[R ua.Request](s *subscriptions, f func(R) (ua.Response, ua.StatusCode)) server.Handler {
	return func(_ *uasc.SecureChannel, r ua.Request, _ uint32) (ua.Response, error) {
		req, ok := r.(R)
		if !ok {
			return nil, ua.StatusBadRequestTypeInvalid
		}
		h := r.Header()
		if s.srv.Session(h) == nil {
			return fault(h.RequestHandle, ua.StatusBadSessionIDInvalid), nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		resp, status := f(req)
		if status != ua.StatusOK {
			return fault(h.RequestHandle, status), nil
		}
		return resp, nil
	}
}

// of returns a session's subscription by its id, nil if it is not its own.
func (s *subscriptions) of(h *ua.RequestHeader, id uint32) *subscription {
	sub := s.all[id]
	if sub == nil || !sub.session.Equal(h.AuthenticationToken) {
		return nil
	}
	return sub
}

// shape takes what a client may ask of a subscription.
func (sub *subscription) shape(interval float64, lifetime, keep uint32) {
	sub.interval = milliseconds(interval, MinPublishing, MaxInterval)
	if sub.keep = keep; keep == 0 {
		sub.keep = defaultKeepAlive
	}
	sub.keep = min(sub.keep, math.MaxUint32/3)
	sub.lifetime = max(lifetime, 3*sub.keep)
}

func (sub *subscription) milliseconds() float64 {
	return float64(sub.interval) / float64(time.Millisecond)
}

func (s *subscriptions) create(r *ua.CreateSubscriptionRequest) (ua.Response, ua.StatusCode) {
	if len(s.all) >= MaxSubscriptions {
		return nil, ua.StatusBadTooManySubscriptions
	}
	s.lastID++
	sub := &subscription{
		id: s.lastID, session: r.RequestHeader.AuthenticationToken, mute: !r.PublishingEnabled,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	sub.shape(r.RequestedPublishingInterval, r.RequestedLifetimeCount, r.RequestedMaxKeepAliveCount)
	sub.due = time.Now().Add(sub.interval)
	s.all[sub.id] = sub
	s.spawn(func() { s.run(sub) })
	return &ua.CreateSubscriptionResponse{
		ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), SubscriptionID: sub.id,
		RevisedPublishingInterval: sub.milliseconds(), RevisedLifetimeCount: sub.lifetime, RevisedMaxKeepAliveCount: sub.keep,
	}, ua.StatusOK
}

func (s *subscriptions) modify(r *ua.ModifySubscriptionRequest) (ua.Response, ua.StatusCode) {
	sub := s.of(r.RequestHeader, r.SubscriptionID)
	if sub == nil {
		return nil, ua.StatusBadSubscriptionIDInvalid
	}
	sub.shape(r.RequestedPublishingInterval, r.RequestedLifetimeCount, r.RequestedMaxKeepAliveCount)
	sub.due = time.Now().Add(sub.interval)
	sub.look()
	return &ua.ModifySubscriptionResponse{
		ResponseHeader:            header(r.RequestHeader.RequestHandle, ua.StatusOK),
		RevisedPublishingInterval: sub.milliseconds(), RevisedLifetimeCount: sub.lifetime, RevisedMaxKeepAliveCount: sub.keep,
	}, ua.StatusOK
}

// look has a subscription's goroutine look at what changed.
func (sub *subscription) look() {
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}

// each applies f to ids and returns the results.
func each(ids []uint32, f func(id uint32) ua.StatusCode) []ua.StatusCode {
	results := make([]ua.StatusCode, len(ids))
	for i, id := range ids {
		results[i] = f(id)
	}
	return results
}

func (s *subscriptions) publishing(r *ua.SetPublishingModeRequest) (ua.Response, ua.StatusCode) {
	results := each(r.SubscriptionIDs, func(id uint32) ua.StatusCode {
		sub := s.of(r.RequestHeader, id)
		if sub == nil {
			return ua.StatusBadSubscriptionIDInvalid
		}
		sub.mute = !r.PublishingEnabled
		return ua.StatusOK
	})
	return &ua.SetPublishingModeResponse{ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, ua.StatusOK
}

func (s *subscriptions) drop(r *ua.DeleteSubscriptionsRequest) (ua.Response, ua.StatusCode) {
	results := each(r.SubscriptionIDs, func(id uint32) ua.StatusCode {
		sub := s.of(r.RequestHeader, id)
		if sub == nil {
			return ua.StatusBadSubscriptionIDInvalid
		}
		s.remove(sub)
		return ua.StatusOK
	})
	return &ua.DeleteSubscriptionsResponse{ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, ua.StatusOK
}

func (s *subscriptions) republish(*ua.RepublishRequest) (ua.Response, ua.StatusCode) {
	return nil, ua.StatusBadMessageNotAvailable
}

// publish keeps the request until a subscription has something to say.
func (s *subscriptions) publish(sc *uasc.SecureChannel, r ua.Request, reqID uint32) (ua.Response, error) {
	req, ok := r.(*ua.PublishRequest)
	if !ok {
		return nil, ua.StatusBadRequestTypeInvalid
	}
	h := req.RequestHeader
	if s.srv.Session(h) == nil {
		return fault(h.RequestHandle, ua.StatusBadSessionIDInvalid), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	subscribed := false
	for _, sub := range s.all {
		subscribed = subscribed || sub.session.Equal(h.AuthenticationToken)
	}
	if !subscribed {
		return fault(h.RequestHandle, ua.StatusBadNoSubscription), nil
	}
	token := h.AuthenticationToken.String()
	if len(s.waiting[token]) >= MaxPublish {
		old, _ := s.pop(token)
		s.spawn(func() { answer{old, fault(old.handle, ua.StatusBadTooManyPublishRequests)}.send(s.ctx) })
	}
	s.waiting[token] = append(s.waiting[token], publish{sc: sc, id: reqID, handle: h.RequestHandle, acks: len(req.SubscriptionAcknowledgements)})
	for _, sub := range s.all {
		if sub.late && sub.session.Equal(h.AuthenticationToken) {
			sub.look()
		}
	}
	return nil, nil
}

func (s *subscriptions) createItems(r *ua.CreateMonitoredItemsRequest) (ua.Response, ua.StatusCode) {
	sub := s.of(r.RequestHeader, r.SubscriptionID)
	if sub == nil {
		return nil, ua.StatusBadSubscriptionIDInvalid
	}
	results := make([]*ua.MonitoredItemCreateResult, len(r.ItemsToCreate))
	for k, want := range r.ItemsToCreate {
		results[k] = s.createItem(sub, want)
	}
	sub.look()
	return &ua.CreateMonitoredItemsResponse{ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, ua.StatusOK
}

func (s *subscriptions) createItem(sub *subscription, want *ua.MonitoredItemCreateRequest) *ua.MonitoredItemCreateResult {
	refuse := func(status ua.StatusCode) *ua.MonitoredItemCreateResult {
		return &ua.MonitoredItemCreateResult{StatusCode: status, FilterResult: ua.NewExtensionObject(nil)}
	}
	if s.items >= MaxItems {
		return refuse(ua.StatusBadTooManyMonitoredItems)
	}
	node, attr := want.ItemToMonitor.NodeID, want.ItemToMonitor.AttributeID
	if attr == ua.AttributeIDEventNotifier { // there are no events here
		return refuse(ua.StatusBadAttributeIDInvalid)
	}
	switch v := s.value(node, attr); v.Status {
	case ua.StatusBadNodeIDUnknown, ua.StatusBadAttributeIDInvalid:
		return refuse(v.Status)
	}
	s.lastID++
	i := &item{id: s.lastID, node: node, attr: attr, mode: want.MonitoringMode, next: time.Now()}
	i.set(want.RequestedParameters, sub.interval)
	sub.items = append(sub.items, i)
	s.items++
	return &ua.MonitoredItemCreateResult{
		StatusCode: ua.StatusOK, MonitoredItemID: i.id, RevisedSamplingInterval: float64(i.sampling) / float64(time.Millisecond),
		RevisedQueueSize: uint32(i.size), FilterResult: ua.NewExtensionObject(nil),
	}
}

// find returns where an item stands in its subscription, -1 if it does not.
func (sub *subscription) find(id uint32) int {
	return slices.IndexFunc(sub.items, func(i *item) bool { return i.id == id })
}

func (s *subscriptions) modifyItems(r *ua.ModifyMonitoredItemsRequest) (ua.Response, ua.StatusCode) {
	sub := s.of(r.RequestHeader, r.SubscriptionID)
	if sub == nil {
		return nil, ua.StatusBadSubscriptionIDInvalid
	}
	results := make([]*ua.MonitoredItemModifyResult, len(r.ItemsToModify))
	for k, want := range r.ItemsToModify {
		results[k] = &ua.MonitoredItemModifyResult{StatusCode: ua.StatusBadMonitoredItemIDInvalid, FilterResult: ua.NewExtensionObject(nil)}
		if at := sub.find(want.MonitoredItemID); at >= 0 {
			i := sub.items[at]
			i.set(want.RequestedParameters, sub.interval)
			i.next = time.Now()
			results[k].StatusCode, results[k].RevisedQueueSize = ua.StatusOK, uint32(i.size)
			results[k].RevisedSamplingInterval = float64(i.sampling) / float64(time.Millisecond)
		}
	}
	sub.look()
	return &ua.ModifyMonitoredItemsResponse{ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, ua.StatusOK
}

func (s *subscriptions) itemMode(r *ua.SetMonitoringModeRequest) (ua.Response, ua.StatusCode) {
	sub := s.of(r.RequestHeader, r.SubscriptionID)
	if sub == nil {
		return nil, ua.StatusBadSubscriptionIDInvalid
	}
	results := each(r.MonitoredItemIDs, func(id uint32) ua.StatusCode {
		at := sub.find(id)
		if at < 0 {
			return ua.StatusBadMonitoredItemIDInvalid
		}
		i := sub.items[at]
		if i.mode = r.MonitoringMode; i.mode == ua.MonitoringModeDisabled {
			i.queue, i.last = nil, nil
		}
		return ua.StatusOK
	})
	sub.look()
	return &ua.SetMonitoringModeResponse{ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, ua.StatusOK
}

func (s *subscriptions) dropItems(r *ua.DeleteMonitoredItemsRequest) (ua.Response, ua.StatusCode) {
	sub := s.of(r.RequestHeader, r.SubscriptionID)
	if sub == nil {
		return nil, ua.StatusBadSubscriptionIDInvalid
	}
	results := each(r.MonitoredItemIDs, func(id uint32) ua.StatusCode {
		at := sub.find(id)
		if at < 0 {
			return ua.StatusBadMonitoredItemIDInvalid
		}
		sub.items = slices.Delete(sub.items, at, at+1)
		s.items--
		return ua.StatusOK
	})
	return &ua.DeleteMonitoredItemsResponse{ResponseHeader: header(r.RequestHeader.RequestHandle, ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, ua.StatusOK
}
