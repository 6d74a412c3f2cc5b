package worker

import (
	"context"
	"errors"
	"time"

	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
)

// Read asks for values; the answer is samples and a Done.
func (w *Worker) Read(a opcua.Ask) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.have(a); err != nil {
		return err
	}
	w.deadlines[a.Request] = time.Now().Add(a.Wait)
	select {
	case w.reads <- a:
	default:
		delete(w.deadlines, a.Request)
		w.finish(opcua.Done{Request: a.Request, Code: opcua.DoneNoSession, Text: "too many reads wait"})
	}
	return nil
}

// Write asks for a write; the answer is a Done.
func (w *Worker) Write(m opcua.Write) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadlines[m.Request] = time.Now().Add(m.Wait)
	select {
	case w.writes <- m:
	default:
		delete(w.deadlines, m.Request)
		w.finish(opcua.Done{Request: m.Request, Code: opcua.DoneNoSession, Text: "too many writes wait"})
	}
	return nil
}

// finish answers a request.
func (w *Worker) finish(d opcua.Done) {
	d.Generation = w.hello.Generation
	w.out.Lock()
	defer w.out.Unlock()
	if w.broken == nil {
		w.say(w.sink.Done(d))
	}
}

// caller does reads and writes one after the other, writes first.
func (w *Worker) caller(ctx context.Context) {
	for {
		select {
		case m := <-w.writes:
			w.finish(w.write(m))
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return
		case m := <-w.writes:
			w.finish(w.write(m))
		case a := <-w.reads:
			w.finish(w.readNow(a))
		}
	}
}

// borrow returns the session for one request that has until its deadline, nil
// where there is none; give it back with the function.
func (w *Worker) borrow(request uint32) (*session, context.Context, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := w.deadlines[request]
	delete(w.deadlines, request)
	s := w.current
	if s == nil || !time.Now().Before(until) {
		return nil, nil, nil
	}
	s.group.Add(1)
	ctx, cancel := context.WithDeadline(s.ctx, until)
	return s, ctx, func() {
		cancel()
		s.group.Done()
	}
}

func (w *Worker) readNow(a opcua.Ask) opcua.Done {
	d := opcua.Done{Request: a.Request}
	s, ctx, release := w.borrow(a.Request)
	if s == nil {
		d.Code = opcua.DoneNoSession
		return d
	}
	defer release()
	w.mu.Lock()
	all := w.items
	w.mu.Unlock()
	handles := make([]uint32, a.Count)
	for i := range handles {
		handles[i] = a.First + uint32(i)
	}
	samples := make([]opcua.Sample, 0, a.Count)
	if err := s.readAll(ctx, handles, all, func(got opcua.Sample, _ bool) { samples = append(samples, got) }); err != nil {
		d.Code, d.Text = opcua.DoneUnknown, cut(err)
		var status ua.StatusCode
		if late := ctx.Err() != nil || errors.As(err, &status) && status == ua.StatusBadTimeout; !late {
			s.distrust(opcua.CodeSession, err) // a late answer is not taken for another's; the canary says whether there are any
		}
		return d
	}
	w.emit(s, a.Request, samples)
	return d
}

// writable is what a node takes.
type writable struct {
	kind  ua.TypeID
	array bool
}

// The statuses of a write after which nobody knows whether it was done.
func doubtful(status ua.StatusCode) bool {
	switch status {
	case ua.StatusBadTimeout, ua.StatusBadRequestTimeout, ua.StatusBadCommunicationError, ua.StatusBadNoCommunication, ua.StatusBadUnexpectedError,
		ua.StatusBadInternalError, ua.StatusBadShutdown, ua.StatusBadServerHalted, ua.StatusBadConnectionClosed, ua.StatusBadSecureChannelClosed,
		ua.StatusBadSessionClosed, ua.StatusBadDeviceFailure, ua.StatusGoodCompletesAsynchronously, ua.StatusGoodClamped, ua.StatusUncertain:
		return true
	}
	return false
}

func (w *Worker) write(m opcua.Write) opcua.Done {
	d := opcua.Done{Request: m.Request}
	s, ctx, release := w.borrow(m.Request)
	if s == nil {
		d.Code = opcua.DoneNoSession
		return d
	}
	defer release()
	node, index, err := s.space.node(m.Address)
	if err != nil {
		d.Code, d.Text, d.Status = opcua.DoneRefused, cut(err), uint32(ua.StatusBadNodeIDUnknown)
		return d
	}
	to, err := s.writable(ctx, node, index)
	var status ua.StatusCode
	if err != nil {
		d.Code, d.Text = opcua.DoneNoSession, cut(err) // nothing was sent
		if errors.As(err, &status) && !fatal(status) {
			d.Code, d.Status = opcua.DoneRefused, uint32(status)
		}
		return d
	}
	v, ok := builtin(to.kind, &m)
	if !ok || to.array {
		d.Code, d.Text = opcua.DoneType, "the node holds "+to.kind.String()
		return d
	}
	variant, err := ua.NewVariant(v)
	if err != nil {
		d.Code, d.Text = opcua.DoneType, cut(err)
		return d
	}
	// One write at a time is with the library: one that was given up may yet be
	// sent, and must not come after a newer one.
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		d.Code, d.Text = opcua.DoneNoSession, "another write is under way" // nothing was sent
		return d
	}
	answer, err := s.c.callUntil(ctx, &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: node, AttributeID: ua.AttributeIDValue, IndexRange: index,
		Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: variant},
	}}}, s.c.timeout, func() { <-s.writing })
	res, _ := answer.(*ua.WriteResponse)
	switch {
	case err == nil && res != nil && len(res.Results) == 1:
		status = res.Results[0]
	case err == nil:
		err = errors.New("the server answered without a result")
	default:
		errors.As(err, &status)
	}
	d.Status = uint32(status)
	switch {
	case err != nil && (status == 0 || fatal(status)) || doubtful(status) || uint32(status)>>30 == 1:
		d.Code, d.Text = opcua.DoneUnknown, cut(err)
	case err != nil || uint32(status)>>30 != 0:
		d.Code, d.Text = opcua.DoneRefused, statusName(uint32(status))
	}
	return d
}

// writable finds out, once for a session, what type a node holds.
func (s *session) writable(ctx context.Context, node *ua.NodeID, index string) (writable, error) {
	name := node.String()
	if t, ok := s.types[name]; ok {
		return t, nil
	}
	values, err := s.c.read(ctx, value(node, index), &ua.ReadValueID{NodeID: node, AttributeID: ua.AttributeIDDataType, DataEncoding: &ua.QualifiedName{}})
	if err != nil {
		return writable{}, err
	}
	t := writable{}
	switch v, kind := values[0], values[1]; {
	case v.Value != nil && v.Value.Type() != ua.TypeIDNull:
		t.kind, t.array = v.Value.Type(), v.Value.Has(ua.VariantArrayValues)
	case uint32(kind.Status)>>30 != 0:
		return writable{}, kind.Status
	default: // no value yet: its declared type, where that is one of the built-in ones
		if n, ok := scalar(kind).(*ua.NodeID); ok && n.Namespace() == 0 && n.IntID() >= 1 && n.IntID() <= 25 {
			t.kind = ua.TypeID(n.IntID())
		} else {
			return writable{}, ua.StatusBadTypeMismatch
		}
	}
	if len(s.types) < opcua.MaxHandle {
		s.types[name] = t
	}
	return t, nil
}
