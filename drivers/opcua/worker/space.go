package worker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"davy/drivers/opcua"
)

// The limits of one request. A request above some 64 KB ends an encrypted
// connection on more than one server, and some servers take less.
const (
	maxPerCall    = 300
	maxNamespaces = 1000
)

// space is what a session knows of its server: nothing of it outlives the
// session.
type space struct {
	mu         sync.RWMutex
	namespaces map[string]uint16
	perRead    int
	perCreate  int
}

// Nodes of OPC UA part 5.
var (
	errNamespace = errors.New("no such namespace")
	errForm      = errors.New("no node id")
)

func ns0(n uint32) *ua.NodeID { return ua.NewNumericNodeID(0, n) }

// value asks for the value of a node.
func value(node *ua.NodeID, index string) *ua.ReadValueID {
	return &ua.ReadValueID{NodeID: node, AttributeID: ua.AttributeIDValue, IndexRange: index, DataEncoding: &ua.QualifiedName{}}
}

// read reads attributes, all in one request.
func (c *channel) read(ctx context.Context, what ...*ua.ReadValueID) ([]*ua.DataValue, error) {
	res, err := call[*ua.ReadResponse](ctx, c, &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnBoth, NodesToRead: what})
	if err != nil {
		return nil, err
	}
	if len(res.Results) != len(what) {
		return nil, fmt.Errorf("the server answered %d values for %d", len(res.Results), len(what))
	}
	return res.Results, nil
}

// learn reads what the server calls its namespaces and what it takes in one request.
func (c *channel) learn(ctx context.Context) (*space, error) {
	values, err := c.read(ctx,
		value(ns0(id.Server_NamespaceArray), ""),
		value(ns0(id.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead), ""),
		value(ns0(id.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall), ""))
	if err != nil {
		return nil, fmt.Errorf("read namespaces: %w", err)
	}
	s := &space{perRead: limit(values[1]), perCreate: limit(values[2])}
	names, ok := scalar(values[0]).([]string)
	if !ok {
		return nil, errors.New("read namespaces: the server has none")
	}
	s.namespaces = indices(names)
	return s, nil
}

// indices gives namespaces their index; of one that is there twice the first.
func indices(names []string) map[string]uint16 {
	m := map[string]uint16{}
	for i, name := range names[:min(len(names), maxNamespaces)] {
		if _, twice := m[name]; !twice {
			m[name] = uint16(i)
		}
	}
	return m
}

// follow takes what the server calls its namespaces now. New ones may come; one
// that has another index, or has gone, is a doubt: what was asked for under the
// old index may be another node.
func (s *space) follow(now map[string]uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, index := range s.namespaces {
		if i, ok := now[name]; !ok || i != index {
			return fmt.Errorf("the server changed its namespaces: %q was number %d", clip([]byte(name)), index)
		}
	}
	s.namespaces = now
	return nil
}

// limit is an operation limit; 0 and nonsense are none of the server's.
func limit(v *ua.DataValue) int {
	n, ok := scalar(v).(uint32)
	if !ok || n == 0 || n > maxPerCall {
		return maxPerCall
	}
	return int(n)
}

// scalar is the value of a good DataValue, nil else.
func scalar(v *ua.DataValue) any {
	if v == nil || v.Value == nil || v.Status != ua.StatusOK {
		return nil
	}
	return v.Value.Value()
}

// node is the id that an address has in this session, and the range of it that
// is meant.
func (s *space) node(a opcua.Address) (*ua.NodeID, string, error) {
	ns := a.Space
	if a.URI != "" {
		var ok bool
		s.mu.RLock()
		ns, ok = s.namespaces[a.URI]
		s.mu.RUnlock()
		if !ok {
			return nil, "", fmt.Errorf("%w: %s", errNamespace, a.URI)
		}
	}
	index := ""
	if a.What == opcua.Element {
		index = strconv.Itoa(a.Element)
	}
	switch a.Type {
	case opcua.Numeric:
		n, err := strconv.ParseUint(a.ID, 10, 32)
		return ua.NewNumericNodeID(ns, uint32(n)), index, err
	case opcua.Text:
		return ua.NewStringNodeID(ns, a.ID), index, nil
	case opcua.GUID:
		if n := ua.NewGUIDNodeID(ns, a.ID); ua.NewGUID(a.ID) != nil {
			return n, index, nil
		}
	case opcua.Opaque:
		if raw, err := base64.StdEncoding.DecodeString(a.ID); err == nil {
			return ua.NewByteStringNodeID(ns, raw), index, nil
		}
	}
	return nil, "", fmt.Errorf("%w: %s", errForm, a)
}
