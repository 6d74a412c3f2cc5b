package opcua

import (
	"reflect"
	"time"

	"github.com/gopcua/opcua/ua"
)

// overflowed marks a status whose item lost samples before it: info type data
// value, overflow (OPC UA part 4, 7.39).
const overflowed = 0x480

// item is one monitored item. It belongs to its subscription.
type item struct {
	id, handle uint32
	node       *ua.NodeID
	attr       ua.AttributeID
	sampling   time.Duration
	size       int
	newest     bool // when full the newest is dropped, not the oldest
	mode       ua.MonitoringMode

	next  time.Time
	last  *ua.DataValue
	queue []*ua.DataValue
}

// set takes what a client may ask of an item, within what is possible here.
func (i *item) set(p *ua.MonitoringParameters, publishing time.Duration) {
	i.handle = p.ClientHandle
	i.sampling = publishing
	if p.SamplingInterval >= 0 {
		i.sampling = milliseconds(p.SamplingInterval, MinSampling, MaxInterval)
	}
	i.size = int(min(max(p.QueueSize, 1), MaxQueue))
	i.newest = !p.DiscardOldest
	if drop := len(i.queue) - i.size; drop > 0 {
		i.queue = i.queue[drop:]
	}
}

// sample enters a value if it is another one than the last; with burst, as
// often as it takes to overflow.
func (i *item) sample(v *ua.DataValue, burst bool) {
	if i.mode == ua.MonitoringModeDisabled {
		return
	}
	changed := i.last == nil || i.last.Status != v.Status || !same(i.last.Value, v.Value)
	i.last = v
	switch {
	case burst:
		for range i.size + 1 {
			i.enter(v)
		}
	case changed:
		i.enter(v)
	}
}

func same(a, b *ua.Variant) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.DeepEqual(a.Value(), b.Value())
}

// enter queues a value. Where one is lost the one beside the gap says so, but
// in a queue of one, which has no gaps.
func (i *item) enter(v *ua.DataValue) {
	if len(i.queue) < i.size {
		i.queue = append(i.queue, v)
		return
	}
	if i.newest {
		i.queue[i.size-1] = v
	} else {
		i.queue = append(i.queue[1:], v)
	}
	if i.size == 1 {
		return
	}
	at := 0
	if i.newest {
		at = i.size - 1
	}
	marked := *i.queue[at]
	marked.Status |= overflowed
	marked.EncodingMask |= ua.DataValueStatusCode
	i.queue[at] = &marked
}

// take returns up to n notifications, oldest first.
func (i *item) take(n int) []*ua.MonitoredItemNotification {
	if i.mode != ua.MonitoringModeReporting {
		return nil
	}
	n = min(n, len(i.queue))
	out := make([]*ua.MonitoredItemNotification, n)
	for k, v := range i.queue[:n] {
		out[k] = &ua.MonitoredItemNotification{ClientHandle: i.handle, Value: v}
	}
	i.queue = i.queue[n:]
	return out
}

// milliseconds is a client's interval within bounds; what is no number is the least.
func milliseconds(v float64, least, most time.Duration) time.Duration {
	switch {
	case !(v*float64(time.Millisecond) > float64(least)):
		return least
	case v*float64(time.Millisecond) > float64(most):
		return most
	}
	return time.Duration(v * float64(time.Millisecond))
}
